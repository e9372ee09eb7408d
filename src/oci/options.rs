//! The options of runc 1.5, crun 1.28 and youki 0.7 that matter, or whose value could be taken for something else; crun's all,
//! since it takes the beginning of a name for the name.

use super::words::Known;

/// Those before the subcommand.
pub const GLOBAL: &[Known] = &[
    Known::value("root", Some('r')),
    Known::value("log", Some('l')),
    Known::value("log-format", None),
    Known::value("log-level", None),
    Known::value("criu", None),
    Known::value("rootless", None),
    Known::value("cgroup-manager", None),
    Known::flag("debug", None),
    Known::flag("systemd-cgroup", Some('s')),
    Known::flag("systemd-log", None),
    Known::flag("help", Some('h')),
    Known::flag("version", Some('v')),
    Known::flag("usage", None),
];

/// Those of `create`, `run` and `restore`. (`-f` is crun's, `-c` and `-p` are youki's.)
pub const MAKING: &[Known] = &[
    Known::value("bundle", Some('b')),
    Known::value("config", Some('f')),
    Known::value("console-socket", Some('c')),
    Known::value("pidfd-socket", None),
    Known::value("pid-file", Some('p')),
    Known::value("preserve-fds", None),
    Known::value("image-path", None),
    Known::value("work-path", None),
    Known::value("manage-cgroups-mode", None),
    Known::value("empty-ns", None),
    Known::value("lsm-profile", None),
    Known::value("lsm-mount-context", None),
    Known::flag("detach", Some('d')),
    Known::flag("keep", None),
    Known::flag("no-pivot", None),
    Known::flag("no-subreaper", None),
    Known::flag("no-new-keyring", None),
    Known::flag("tcp-established", None),
    Known::flag("tcp-close", None),
    Known::flag("ext-unix-sk", None),
    Known::flag("shell-job", None),
    Known::flag("file-locks", None),
    Known::flag("network-lock", None),
    Known::flag("auto-dedup", None),
    Known::flag("lazy-pages", None),
    Known::flag("help", Some('h')),
    Known::flag("usage", None),
];

/// Those of `delete`.
pub const DELETE: &[Known] = &[Known::flag("force", Some('f')), Known::flag("regex", Some('r'))];

/// What runtimes can be asked to do: the first of these words is the subcommand, whatever options stand before it.
pub const SUBCOMMANDS: &[&str] = &[
    "checkpoint",
    "completion",
    "create",
    "delete",
    "events",
    "exec",
    "features",
    "help",
    "info",
    "init",
    "kill",
    "list",
    "mounts",
    "pause",
    "ps",
    "restore",
    "resume",
    "run",
    "spec",
    "start",
    "state",
    "update",
];
