//! The house rules as data: which module may know which. A new arrow is a line here, and a reason in its commit;
//! one that nobody draws any more leaves it, and a module comes into it when it comes into being.

/// Each module and the modules it may name, besides itself and [`EVERYONE_MAY`]. Lowest first, so that an arrow
/// only ever points to a line above: there are no cycles.
pub const ARROWS: &[(&str, &[&str])] = &[
    ("failure", &[]),
    ("cgroup", &[]),
    ("oci", &[]),
    ("report", &["oci"]),
    ("mig", &[]),
    ("cli", &["mig"]),
    ("edits", &["mig", "oci"]),
    ("require", &["mig"]),
    ("request", &["mig", "require"]),
    ("policy", &["mig", "request", "require"]),
    ("lease", &["mig", "cgroup"]),
    ("config", &["mig", "policy"]),
    ("reserve", &["lease", "policy", "request", "mig"]),
    ("confirm", &["lease", "mig"]),
    ("release", &["lease"]),
    ("host", &["config", "edits", "mig"]),
    ("inject", &["edits", "cgroup"]),
    (
        "stage",
        &[
            "reserve", "confirm", "release", "host", "edits", "inject", "oci", "request", "require",
            "config", "mig", "lease",
        ],
    ),
    ("operator", &["host", "edits", "lease", "config", "mig"]),
    ("main", &["cli", "stage", "operator", "report", "host"]),
    ("bin", &["oci", "stage", "report", "host"]),
];

/// What every module may name.
pub const EVERYONE_MAY: &[&str] = &["failure"];

/// Modules, by file or folder below src/, that are data and decisions only: they neither read nor write anything.
pub const PURE: &[&str] = &["mig", "policy", "require", "request", "edits"];

/// Files of a pure module that do touch files, by their purpose.
pub const NOT_PURE: &[&str] = &["edits/spec.rs"];

/// Paths that mean I/O.
pub const IO_PATHS: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::os::unix::fs",
    "std::os::unix::net",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::env",
    "nix",
    "rustix",
    "libc",
    "procfs",
];

/// Methods of `Path` that ask the file system without naming `std::fs`.
pub const IO_METHODS: &[&str] = &[
    "exists",
    "try_exists",
    "is_file",
    "is_dir",
    "is_symlink",
    "metadata",
    "symlink_metadata",
    "read_dir",
    "read_link",
    "canonicalize",
];

/// Files (by prefix below src/) that may name NVML's crates.
pub const NVML_FILES: &str = "host/nvml";

/// NVML's crates.
pub const NVML_CRATES: &[&str] = &["nvml_wrapper", "nvml_wrapper_sys"];

/// Files (by prefix below src/) that may say `unsafe`; every other one forbids it to itself or inherits that.
pub const UNSAFE_FILES: &[&str] = &["inject/bpf.rs", "host/nvml"];

/// Names that say nothing of what is inside.
pub const DRAWERS: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];
