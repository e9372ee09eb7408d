//! Init, shutdown, versions, error texts.

use std::ffi::c_char;

use super::exports;
use crate::abi::{Out, OutText};
use crate::code::Code;
use crate::{live, session};

exports! {
    fn nvmlInit | nvmlInit_v2() |call| { call.init(0) }

    fn nvmlInitWithFlags(flags: u32) |call| { call.init(flags) }

    fn nvmlShutdown() |_call| { session::close() }

    fn nvmlSystemGetDriverVersion(version: OutText, length: u32) |call| {
        version.put_text(length, &call.session()?.state.driver)
    }

    fn nvmlSystemGetNVMLVersion(version: OutText, length: u32) |call| {
        let driver = &call.session()?.state.driver;
        version.put_text(length, &format!("{}.{driver}", cuda(driver) / 1000))
    }

    fn nvmlSystemGetCudaDriverVersion | nvmlSystemGetCudaDriverVersion_v2(version: Out<i32>) |call| {
        version.put(cuda(&call.session()?.state.driver))
    }
}

/// The CUDA version that a driver branch brings, as `12040` for 12.4, from NVIDIA's release notes.
fn cuda(driver: &str) -> i32 {
    let branch = driver
        .split('.')
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0);
    let versions = [
        (580, 13000),
        (575, 12090),
        (570, 12080),
        (565, 12070),
        (560, 12060),
        (555, 12050),
        (550, 12040),
        (545, 12030),
        (535, 12020),
        (530, 12010),
        (525, 12000),
        (520, 11080),
        (515, 11070),
        (510, 11060),
        (495, 11050),
        (470, 11040),
        (465, 11030),
        (460, 11020),
        (455, 11010),
    ];
    let known = versions.into_iter().find(|(since, _)| branch >= *since);
    known.map_or(11000, |(_, cuda)| cuda)
}

/// The text of a code. The one function that returns no code itself.
#[allow(non_snake_case, reason = "NVML's own name")]
#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(code: u32) -> *const c_char {
    live::now().trace("nvmlErrorString", None, Some(Code::SUCCESS.0));
    Code(code).text().as_ptr()
}
