//! Error codes, as cuda.h numbers them.

use std::ffi::CStr;

use crate::fault::{Fault, Kind};

macro_rules! codes {
    ($($variant:ident $number:literal $name:literal $sentence:literal)*) => {
        /// A `CUresult` other than success.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($variant = $number,)*
        }

        /// Name and sentence of a `CUresult`.
        pub fn describe(number: i32) -> Option<(&'static CStr, &'static CStr)> {
            match number {
                0 => Some((c"CUDA_SUCCESS", c"no error")),
                $($number => Some(($name, $sentence)),)*
                _ => None,
            }
        }
    };
}

codes! {
    InvalidValue 1 c"CUDA_ERROR_INVALID_VALUE" c"invalid argument"
    OutOfMemory 2 c"CUDA_ERROR_OUT_OF_MEMORY" c"out of memory"
    NotInitialized 3 c"CUDA_ERROR_NOT_INITIALIZED" c"initialization error"
    NoDevice 100 c"CUDA_ERROR_NO_DEVICE" c"no CUDA-capable device is detected"
    InvalidDevice 101 c"CUDA_ERROR_INVALID_DEVICE" c"invalid device ordinal"
    InvalidImage 200 c"CUDA_ERROR_INVALID_IMAGE" c"device kernel image is invalid"
    InvalidContext 201 c"CUDA_ERROR_INVALID_CONTEXT" c"invalid device context"
    NoBinaryForGpu 209 c"CUDA_ERROR_NO_BINARY_FOR_GPU" c"no kernel image is available for execution on the device"
    InvalidPtx 218 c"CUDA_ERROR_INVALID_PTX" c"a PTX JIT compilation failed"
    FileNotFound 301 c"CUDA_ERROR_FILE_NOT_FOUND" c"file not found"
    InvalidHandle 400 c"CUDA_ERROR_INVALID_HANDLE" c"invalid resource handle"
    IllegalState 401 c"CUDA_ERROR_ILLEGAL_STATE" c"the operation cannot be performed in the present state"
    NotFound 500 c"CUDA_ERROR_NOT_FOUND" c"named symbol not found"
    NotReady 600 c"CUDA_ERROR_NOT_READY" c"device not ready"
    IllegalAddress 700 c"CUDA_ERROR_ILLEGAL_ADDRESS" c"an illegal memory access was encountered"
    LaunchTimeout 702 c"CUDA_ERROR_LAUNCH_TIMEOUT" c"the launch timed out and was terminated"
    MisalignedAddress 716 c"CUDA_ERROR_MISALIGNED_ADDRESS" c"misaligned address"
    LaunchFailed 719 c"CUDA_ERROR_LAUNCH_FAILED" c"unspecified launch failure"
    CooperativeLaunchTooLarge 720 c"CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE" c"too many blocks in cooperative launch"
    NotSupported 801 c"CUDA_ERROR_NOT_SUPPORTED" c"operation not supported"
    CaptureUnsupported 900 c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED" c"operation not permitted when stream is capturing"
    CaptureInvalidated 901 c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED" c"operation failed due to a previous error during capture"
    CaptureMerge 902 c"CUDA_ERROR_STREAM_CAPTURE_MERGE" c"operation would result in a merge of separate capture sequences"
    CaptureUnmatched 903 c"CUDA_ERROR_STREAM_CAPTURE_UNMATCHED" c"capture was not ended in the same stream as it began"
    CaptureUnjoined 904 c"CUDA_ERROR_STREAM_CAPTURE_UNJOINED" c"capturing stream has unjoined work"
    CaptureIsolation 905 c"CUDA_ERROR_STREAM_CAPTURE_ISOLATION" c"dependency created on uncaptured work in another stream"
    CaptureImplicit 906 c"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT" c"operation would make the legacy stream depend on a capturing blocking stream"
    CapturedEvent 907 c"CUDA_ERROR_CAPTURED_EVENT" c"operation not permitted on an event last recorded in a capturing stream"
    CaptureWrongThread 908 c"CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD" c"attempt to terminate a thread-local capture sequence from another thread"
    Unknown 999 c"CUDA_ERROR_UNKNOWN" c"unknown error"
}

/// A code, and a sentence where the emulator knows more than the code says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: Code,
    pub why: String,
}

/// The outcome of a call.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub fn new(code: Code, why: impl Into<String>) -> Self {
        Failure { code, why: why.into() }
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Failure::new(code, "")
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let code = match fault.kind {
            Kind::OutOfBounds => Code::IllegalAddress,
            Kind::Misaligned => Code::MisalignedAddress,
            Kind::Runaway | Kind::Deadlock => Code::LaunchTimeout,
            Kind::Launch => Code::InvalidValue,
            _ => Code::LaunchFailed,
        };
        Failure::new(code, fault.to_string())
    }
}
