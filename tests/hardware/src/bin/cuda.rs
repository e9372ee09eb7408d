//! What runs in the container: looks at what of NVIDIA's it sees, opens the driver's libcuda, and has the GPU compute. Says
//! one line of JSON, and leaves the judging to others.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::path::Path;

use libloading::Library;
use serde_json::{Value, json};

/// Each of so many threads writes its number squared, plus one.
const COUNT: u32 = 1 << 20;

/// Threads of a block.
const BLOCK: u32 = 256;

/// The driver compiles it for the GPU that it finds: every one since Maxwell will do.
const KERNEL: &str = include_str!("square.ptx");

/// `CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT`
const MULTIPROCESSORS: c_int = 16;

/// A call of CUDA that failed: which, and its code.
struct Failed(&'static str, c_int);

fn main() {
    let said = match cuda() {
        Ok(said) => said,
        Err(why) => why,
    };
    println!("{}", json!({"sees": sees(), "cuda": said}));
}

/// The nodes and the entries of /proc that are there.
fn sees() -> Value {
    let list = |folder: &str, prefix: &str| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        names
    };
    json!({
        "dev": list("/dev", "nvidia"),
        "caps": list("/dev/nvidia-caps", "nvidia-cap"),
        "gpus": list("/proc/driver/nvidia/gpus", ""),
        "proc": Path::new("/proc/driver/nvidia").exists(),
        "variable": std::env::var("NVIDIA_VISIBLE_DEVICES").ok(),
    })
}

fn cuda() -> Result<Value, Value> {
    // SAFETY: NVIDIA's own library, whose initialisers are meant to run.
    let library = unsafe { Library::new("libcuda.so.1") };
    let library = library.map_err(|error| json!({"failed": "dlopen", "why": error.to_string()}))?;
    compute(&Cuda(&library)).map_err(|Failed(call, code)| json!({"failed": call, "code": code}))
}

fn compute(cuda: &Cuda<'_>) -> Result<Value, Failed> {
    cuda.call1("cuInit", 0 as c_uint)?;
    let mut count: c_int = 0;
    cuda.call1("cuDeviceGetCount", &mut count)?;
    let mut device: c_int = 0;
    cuda.call2("cuDeviceGet", &mut device, 0 as c_int)?;
    let mut name = [0u8; 128];
    cuda.call3("cuDeviceGetName", name.as_mut_ptr(), 127 as c_int, device)?;
    let mut uuid = [0u8; 16];
    cuda.call2("cuDeviceGetUuid_v2", uuid.as_mut_ptr(), device)?;
    let mut memory: usize = 0;
    cuda.call2("cuDeviceTotalMem_v2", &mut memory, device)?;
    let mut multiprocessors: c_int = 0;
    cuda.call3(
        "cuDeviceGetAttribute",
        &mut multiprocessors,
        MULTIPROCESSORS,
        device,
    )?;
    let wrong = run(cuda, device)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    Ok(json!({
        "devices": count,
        "name": String::from_utf8_lossy(&name[..end]),
        "uuid": printed(uuid),
        "memory_mib": memory >> 20,
        "multiprocessors": multiprocessors,
        "computed": COUNT,
        "wrong": wrong,
    }))
}

/// Has the device compute; how many values are wrong.
fn run(cuda: &Cuda<'_>, device: c_int) -> Result<usize, Failed> {
    let (mut context, mut module, mut function) = (null(), null(), null());
    cuda.call2("cuDevicePrimaryCtxRetain", &mut context, device)?;
    cuda.call1("cuCtxSetCurrent", context)?;
    let kernel = format!("{KERNEL}\0");
    cuda.call2("cuModuleLoadData", &mut module, kernel.as_ptr())?;
    cuda.call3("cuModuleGetFunction", &mut function, module, c"square".as_ptr())?;
    let bytes = COUNT as usize * size_of::<u32>();
    let mut there: u64 = 0;
    cuda.call2("cuMemAlloc_v2", &mut there, bytes)?;
    let mut count = COUNT;
    let mut parameters: [*mut c_void; 2] = [(&raw mut there).cast(), (&raw mut count).cast()];
    cuda.launch(function, COUNT.div_ceil(BLOCK), parameters.as_mut_ptr())?;
    cuda.call0("cuCtxSynchronize")?;
    let mut values = vec![0u32; COUNT as usize];
    cuda.call3("cuMemcpyDtoH_v2", values.as_mut_ptr(), there, bytes)?;
    cuda.call1("cuMemFree_v2", there)?;
    cuda.call1("cuDevicePrimaryCtxRelease_v2", device)?;
    let right = |n: u32| n.wrapping_mul(n).wrapping_add(1);
    Ok((0..COUNT)
        .zip(values)
        .filter(|(n, value)| right(*n) != *value)
        .count())
}

fn null() -> *mut c_void {
    std::ptr::null_mut()
}

/// As NVML and the environment write it, without its prefix.
fn printed(uuid: [u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// libcuda's functions, by name and number of arguments: each argument is an integer or a pointer.
struct Cuda<'a>(&'a Library);

/// No such function.
const NO_FUNCTION: c_int = -1;

macro_rules! call {
    ($method:ident $(, $arg:ident: $type:ident)*) => {
        fn $method<$($type),*>(&self, name: &'static str $(, $arg: $type)*) -> Result<(), Failed> {
            let symbol = self.symbol::<unsafe extern "C" fn($($type),*) -> c_int>(name)?;
            // SAFETY: cuda.h's arguments for that function, each alive until it returns.
            done(name, unsafe { symbol($($arg),*) })
        }
    };
}

impl Cuda<'_> {
    fn symbol<T: Copy>(&self, name: &'static str) -> Result<T, Failed> {
        // SAFETY: the caller gives the function's type as cuda.h has it.
        let found = unsafe { self.0.get::<T>(name.as_bytes()) };
        found.map(|symbol| *symbol).map_err(|_| Failed(name, NO_FUNCTION))
    }

    call!(call0);
    call!(call1, a: A);
    call!(call2, a: A, b: B);
    call!(call3, a: A, b: B, c: C);

    /// `cuLaunchKernel` on one dimension.
    fn launch(
        &self,
        function: *mut c_void,
        blocks: c_uint,
        parameters: *mut *mut c_void,
    ) -> Result<(), Failed> {
        type Launch = unsafe extern "C" fn(
            *mut c_void,
            c_uint,
            c_uint,
            c_uint,
            c_uint,
            c_uint,
            c_uint,
            c_uint,
            *mut c_void,
            *mut *mut c_void,
            *mut c_char,
        ) -> c_int;
        let name = "cuLaunchKernel";
        let launch = self.symbol::<Launch>(name)?;
        // SAFETY: cuda.h's arguments; the parameters are as the kernel takes them.
        let code = unsafe {
            launch(
                function,
                blocks,
                1,
                1,
                BLOCK,
                1,
                1,
                0,
                null(),
                parameters,
                null().cast(),
            )
        };
        done(name, code)
    }
}

fn done(name: &'static str, code: c_int) -> Result<(), Failed> {
    match code {
        0 => Ok(()),
        code => Err(Failed(name, code)),
    }
}
