//! The driver itself, the device, the context.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use super::call::{CONTEXT, current, exports, put, set_current};
use super::code::{Code, Failure, Outcome, describe};

/// The CUDA version whose driver this is: 12.9.
const VERSION: c_int = 12090;

fn only(device: c_int) -> Outcome {
    if device == 0 { Ok(()) } else { Err(Code::InvalidDevice.into()) }
}

exports! {
    Driver [cuInit](flags: c_uint) |s| {
        if flags != 0 {
            return Err(Code::InvalidValue.into());
        }
        if let Some(why) = &s.refused {
            return Err(Failure::new(Code::NoDevice, why.clone()));
        }
        s.initialized = true;
        Ok(())
    }

    Driver [cuDriverGetVersion](version: *mut c_int) |s| { put(version, VERSION) }

    Driver [cuDeviceGetCount](count: *mut c_int) |s| { put(count, 1) }

    Driver [cuDeviceGet](device: *mut c_int, ordinal: c_int) |s| {
        only(ordinal)?;
        if !s.initialized {
            return Err(Code::NotInitialized.into());
        }
        put(device, ordinal)
    }

    Driver [cuDeviceGetName](name: *mut c_char, length: c_int, device: c_int) |s| {
        only(device)?;
        let text = format!("emulated sm_{}", s.model.sm);
        let kept = text.len().min(usize::try_from(length).unwrap_or(0).saturating_sub(1));
        if name.is_null() || length <= 0 {
            return Err(Code::InvalidValue.into());
        }
        std::ptr::copy_nonoverlapping(text.as_ptr(), name.cast(), kept);
        name.add(kept).write(0);
        Ok(())
    }

    Driver [cuDeviceGetUuid cuDeviceGetUuid_v2](uuid: *mut [u8; 16], device: c_int) |s| {
        only(device)?;
        put(uuid, *b"emulated device\0")
    }

    Driver [cuDeviceTotalMem_v2 cuDeviceTotalMem](bytes: *mut usize, device: c_int) |s| {
        only(device)?;
        put(bytes, s.model.memory as usize)
    }

    Driver [cuDeviceGetAttribute](value: *mut c_int, attribute: c_int, device: c_int) |s| {
        only(device)?;
        put(value, s.model.attribute(attribute)?)
    }

    Driver [cuDevicePrimaryCtxRetain](context: *mut u64, device: c_int) |s| {
        only(device)?;
        if !s.initialized {
            return Err(Code::NotInitialized.into());
        }
        s.retained += 1;
        put(context, CONTEXT)
    }

    // The last release destroys the context, with all that it owns and with the fault that may have broken it.
    Driver [cuDevicePrimaryCtxRelease_v2 cuDevicePrimaryCtxRelease](device: c_int) |s| {
        only(device)?;
        s.retained = s.retained.checked_sub(1).ok_or(Code::InvalidContext)?;
        if s.retained == 0 {
            s.destroy_context();
        }
        Ok(())
    }

    Driver [cuCtxSetCurrent](context: u64) |s| {
        if context != 0 && (context != CONTEXT || s.retained == 0) {
            return Err(Code::InvalidContext.into());
        }
        set_current(context);
        Ok(())
    }

    Driver [cuCtxGetCurrent](context: *mut u64) |s| { put(context, if s.retained == 0 { 0 } else { current() }) }

    Context [cuCtxGetDevice](device: *mut c_int) |s| { put(device, 0) }

    Health [cuCtxSynchronize]() |s| {
        s.refuse_unsafe()?;
        s.run_all()
    }

    Context [cuCtxGetStreamPriorityRange](least: *mut c_int, greatest: *mut c_int) |s| {
        put(least, 0)?;
        put(greatest, 0)
    }

    Driver [cuGetErrorName](code: c_int, text: *mut *const c_char) |s| { put_text(text, describe(code).map(|(name, _)| name)) }

    Driver [cuGetErrorString](code: c_int, text: *mut *const c_char) |s| {
        put_text(text, describe(code).map(|(_, sentence)| sentence))
    }

    // NVRTC asks for tables that nobody documents, and goes on without them.
    Driver [cuGetExportTable](table: *mut *const c_void, id: *const c_void) |s| { Err(Code::NotFound.into()) }
}

/// # Safety
/// `to` is null or may be written.
unsafe fn put_text(to: *mut *const c_char, text: Option<&'static CStr>) -> Outcome {
    // SAFETY: as the caller promised.
    unsafe { put(to, text.map_or(std::ptr::null(), CStr::as_ptr)) }?;
    text.map(drop).ok_or_else(|| Code::InvalidValue.into())
}
