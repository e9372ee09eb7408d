//! NVML's return codes: `nvmlReturn_t` of nvml.h, with the text `nvmlErrorString` gives.

use std::ffi::CStr;

/// A return code of NVML; 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u32);

macro_rules! codes {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        impl Code {
            $(#[doc = concat!("`NVML_", stringify!($name), "` or `NVML_ERROR_", stringify!($name), "`.")]
              pub const $name: Code = Code($number);)*

            /// Every code there is: number, name without its prefix, text.
            const TABLE: &'static [(u32, &'static str, &'static CStr)] = &[$(($number, stringify!($name), $text)),*];
        }
    };
}

codes! {
    SUCCESS = 0, c"Success";
    UNINITIALIZED = 1, c"Uninitialized";
    INVALID_ARGUMENT = 2, c"Invalid Argument";
    NOT_SUPPORTED = 3, c"Not Supported";
    NO_PERMISSION = 4, c"Insufficient Permissions";
    ALREADY_INITIALIZED = 5, c"Already Initialized";
    NOT_FOUND = 6, c"Not Found";
    INSUFFICIENT_SIZE = 7, c"Insufficient Size";
    INSUFFICIENT_POWER = 8, c"Insufficient External Power";
    DRIVER_NOT_LOADED = 9, c"Driver Not Loaded";
    TIMEOUT = 10, c"Timeout";
    IRQ_ISSUE = 11, c"Interrupt Request Issue";
    LIBRARY_NOT_FOUND = 12, c"NVML Shared Library Not Found";
    FUNCTION_NOT_FOUND = 13, c"Function Not Found";
    CORRUPTED_INFOROM = 14, c"Corrupted infoROM";
    GPU_IS_LOST = 15, c"GPU is lost";
    RESET_REQUIRED = 16, c"GPU requires reset";
    OPERATING_SYSTEM = 17, c"GPU access blocked by the operating system";
    LIB_RM_VERSION_MISMATCH = 18, c"Driver/library version mismatch";
    IN_USE = 19, c"In use by another client";
    MEMORY = 20, c"Insufficient Memory";
    NO_DATA = 21, c"No data";
    VGPU_ECC_NOT_SUPPORTED = 22, c"vGPU ECC not supported";
    INSUFFICIENT_RESOURCES = 23, c"Insufficient Resources";
    FREQ_NOT_SUPPORTED = 24, c"Invalid Frequency";
    ARGUMENT_VERSION_MISMATCH = 25, c"Argument version mismatch";
    DEPRECATED = 26, c"Requested functionality has been deprecated";
    NOT_READY = 27, c"System is not in ready state";
    GPU_NOT_FOUND = 28, c"GPU Not Found";
    INVALID_STATE = 29, c"Invalid State";
    UNKNOWN = 999, c"Unknown Error";
}

impl Code {
    /// The text of this code, as NVML's clients print it.
    pub fn text(self) -> &'static CStr {
        let known = Self::TABLE.iter().find(|(number, ..)| *number == self.0);
        known.map_or(c"Unknown Error", |(.., text)| *text)
    }

    /// A code from its number or its name (`15`, `GPU_IS_LOST`, `NVML_ERROR_GPU_IS_LOST`).
    pub fn parse(text: &str) -> Option<Code> {
        let bare = text.trim_start_matches("NVML_").trim_start_matches("ERROR_");
        let known = Self::TABLE
            .iter()
            .find(|(number, name, _)| *name == bare || number.to_string() == text);
        known.map(|(number, ..)| Code(*number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_known_by_number_and_by_name() {
        for text in ["15", "GPU_IS_LOST", "NVML_ERROR_GPU_IS_LOST"] {
            assert_eq!(Code::parse(text), Some(Code::GPU_IS_LOST), "{text}");
        }
        assert_eq!(Code::parse("30"), None);
        assert_eq!(Code::parse("lost"), None);
        assert_eq!(Code(4711).text(), c"Unknown Error");
    }
}
