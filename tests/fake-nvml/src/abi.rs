//! The pointers that callers pass.
//!
//! NVML is a C interface: what a caller's pointer refers to is the caller's promise. All of those promises are taken
//! here, so that the functions themselves are safe code.

use std::ffi::{CStr, c_char};

use crate::code::Code;

/// A caller's pointer to one `T`, to be filled; null is an invalid argument.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Fills it.
    pub fn put(self, value: T) -> Result<(), Code> {
        if self.0.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: NVML's callers pass a pointer to a `T` of theirs, or null.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }
}

impl<T: Copy> Out<T> {
    /// What the caller put there: versions and capacities go both ways.
    pub fn get(self) -> Result<T, Code> {
        if self.0.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: as in `put`; where a value goes both ways, the caller has initialised it.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// The same place, seen as another struct that begins alike.
    pub fn cast<U>(self) -> Out<U> {
        Out(self.0.cast())
    }

    /// Whether the caller passed nothing.
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// Fills as many elements as `values` has; the caller's array holds them, as NVML's text demands of it.
    pub fn put_all(self, values: &[T]) -> Result<(), Code> {
        if self.0.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        for (at, value) in values.iter().enumerate() {
            // SAFETY: the caller's array has room for as many elements as there can be.
            unsafe { self.0.add(at).write_unaligned(*value) };
        }
        Ok(())
    }
}

/// A caller's buffer for text; its length comes beside it.
pub type OutText = Out<c_char>;

impl OutText {
    /// Writes `text` and its NUL, if the buffer has room.
    pub fn put_text(self, length: u32, text: &str) -> Result<(), Code> {
        if (length as usize) <= text.len() {
            return Err(if self.is_null() {
                Code::INVALID_ARGUMENT
            } else {
                Code::INSUFFICIENT_SIZE
            });
        }
        let bytes: Vec<c_char> = text.bytes().chain([0]).map(|byte| byte as c_char).collect();
        self.put_all(&bytes)
    }
}

/// A caller's string.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct InText(*const c_char);

impl InText {
    /// The text, if it is any.
    pub fn get(&self) -> Result<&str, Code> {
        if self.0.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: NVML's callers pass a NUL-terminated string that outlives the call, or null.
        unsafe { CStr::from_ptr(self.0) }
            .to_str()
            .map_err(|_| Code::INVALID_ARGUMENT)
    }
}

/// A fixed field of text, cut to its size and always terminated.
pub fn field<const N: usize>(text: &str) -> [c_char; N] {
    let mut field = [0; N];
    for (place, byte) in field.iter_mut().take(N.saturating_sub(1)).zip(text.bytes()) {
        *place = byte as c_char;
    }
    field
}
