//! The simulated node is what the other tests stand on: here it is held against the driver's formats, NVML's rules,
//! and clients that nobody here wrote.

mod answers;
mod faults;
mod instances;
mod layout;
mod outside;

use std::path::Path;

use fake_node::{NodeSpec, Scratch, nodes_dir};
use nvml_wrapper_sys::bindings::{NvmlLib, nvmlDevice_t};

/// A node described in place.
fn node(json: &str) -> Scratch {
    let spec: NodeSpec = serde_json::from_str(json).expect("a node");
    up(&spec)
}

fn up(spec: &NodeSpec) -> Scratch {
    Scratch::up_spec(spec).expect("tests of device nodes run as root with CAP_MKNOD")
}

/// One of the nodes in tests/nodes.
fn known(name: &str) -> Scratch {
    up(&NodeSpec::read(&nodes_dir().join(format!("{name}.json"))).expect("a node in tests/nodes"))
}

/// The names of all of them.
fn all_names() -> Vec<String> {
    let entries = std::fs::read_dir(nodes_dir()).expect("tests/nodes");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| path.file_stem().expect("a stem").to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 12, "{names:?}");
    names
}

/// NVML's functions as they are, loaded from a path.
fn load(library: &Path) -> NvmlLib {
    // SAFETY: loading runs no code of a library without constructors; ours and NVIDIA's have none that matter.
    unsafe { NvmlLib::new(library) }.expect("the library loads")
}

/// Calls one of NVML's functions and gives its code. The arguments are pointers to this test's own variables.
macro_rules! ask {
    ($lib:expr, $function:ident ( $($argument:expr),* )) => {{
        let function = $lib.$function.as_ref().expect(stringify!($function));
        // SAFETY: the symbol has the signature that nvml.h gives it, and each pointer is to a live variable or array
        // of the type and size it asks for, or null where a null is under test.
        unsafe { function($($argument),*) }
    }};
}
use ask;

/// A plain C struct, zeroed.
macro_rules! zeroed {
    ($type:ty) => {{
        // SAFETY: structs of integers, characters and pointers, for which all zeroes is a value.
        unsafe { std::mem::zeroed::<$type>() }
    }};
}
use zeroed;

/// The library of a node, with NVML initialised.
fn asked(node: &Scratch) -> NvmlLib {
    let lib = load(&node.library());
    assert_eq!(ask!(lib, nvmlInit_v2()), 0);
    lib
}

/// The handle of a GPU.
fn gpu(lib: &NvmlLib, index: u32) -> nvmlDevice_t {
    let mut device = std::ptr::null_mut();
    assert_eq!(ask!(lib, nvmlDeviceGetHandleByIndex_v2(index, &mut device)), 0);
    device
}

/// The handle of a MIG device.
fn mig(lib: &NvmlLib, gpu: nvmlDevice_t, index: u32) -> nvmlDevice_t {
    let mut device = std::ptr::null_mut();
    let code = ask!(lib, nvmlDeviceGetMigDeviceHandleByIndex(gpu, index, &mut device));
    assert_eq!(code, 0);
    device
}

/// A device's UUID, or the code that stands in its place.
fn uuid(lib: &NvmlLib, device: nvmlDevice_t) -> Result<String, u32> {
    let mut buffer = [0; 96];
    match ask!(lib, nvmlDeviceGetUUID(device, buffer.as_mut_ptr(), 96)) {
        0 => Ok(text(&buffer)),
        code => Err(code),
    }
}

/// C text from a buffer.
fn text(buffer: &[std::ffi::c_char]) -> String {
    let bytes = buffer.iter().map(|byte| byte.to_ne_bytes()[0]);
    String::from_utf8(bytes.take_while(|byte| *byte != 0).collect()).expect("UTF-8")
}
