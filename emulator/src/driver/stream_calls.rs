//! Streams and events.

use std::ffi::{c_int, c_uint};

use super::call::{exports, put};
use super::code::{Code, Outcome};
use super::state::{NULL, State};
use super::stream::{Event, Stream};

/// `CU_STREAM_NON_BLOCKING`.
const NON_BLOCKING: c_uint = 1;

impl State {
    fn add_stream(&mut self, flags: c_uint) -> Outcome<u64> {
        if flags & !NON_BLOCKING != 0 {
            return Err(Code::InvalidValue.into());
        }
        let handle = self.handle();
        self.streams.insert(handle, Stream::new(flags & NON_BLOCKING == 0));
        Ok(handle)
    }

    /// The point that an event marks, for a call that waits on the host.
    fn host_mark(&mut self, event: u64) -> Outcome<Option<super::stream::Mark>> {
        let event = self.event(event)?;
        match (&event.captured, event.mark) {
            (Some((id, _)), _) => {
                let id = *id;
                self.invalidate(id);
                Err(Code::CapturedEvent.into())
            }
            (None, mark) => Ok(mark),
        }
    }
}

exports! {
    Health [cuStreamCreate](stream: *mut u64, flags: c_uint) |s| { put(stream, s.add_stream(flags)?) }

    // All streams have the same priority.
    Health [cuStreamCreateWithPriority](stream: *mut u64, flags: c_uint, priority: c_int) |s| { put(stream, s.add_stream(flags)?) }

    // Does the stream's work first; a real driver does it later.
    Health [cuStreamDestroy_v2 cuStreamDestroy](stream: u64) |s| {
        if stream == NULL {
            return Err(Code::InvalidHandle.into());
        }
        s.refuse_captured(stream)?;
        let end = s.end_of(stream);
        s.run_until(&[end])?;
        s.streams.remove(&stream);
        Ok(())
    }

    Health [cuStreamSynchronize](stream: u64) |s| {
        s.refuse_captured(stream)?;
        let end = s.end_of(stream);
        s.run_until(&[end])
    }

    Health [cuStreamQuery](stream: u64) |s| {
        s.refuse_captured(stream)?;
        let end = s.end_of(stream);
        if s.run_a_little(end)? { Ok(()) } else { Err(Code::NotReady.into()) }
    }

    Health [cuStreamWaitEvent](stream: u64, event: u64, flags: c_uint) |s| { s.wait_event(stream, event) }

    Health [cuEventCreate](event: *mut u64, flags: c_uint) |s| {
        let handle = s.handle();
        s.events.insert(handle, Event::default());
        put(event, handle)
    }

    Health [cuEventDestroy_v2 cuEventDestroy](event: u64) |s| {
        s.events.remove(&event).map(drop).ok_or_else(|| Code::InvalidHandle.into())
    }

    Health [cuEventRecord](event: u64, stream: u64) |s| { s.record_event(event, stream) }

    Health [cuEventRecordWithFlags](event: u64, stream: u64, flags: c_uint) |s| {
        if flags == 0 { s.record_event(event, stream) } else { Err(Code::NotSupported.into()) }
    }

    Health [cuEventSynchronize](event: u64) |s| {
        match s.host_mark(event)? {
            Some(mark) => s.run_until(&[mark]),
            None => Ok(()),
        }
    }

    Health [cuEventQuery](event: u64) |s| {
        match s.host_mark(event)? {
            Some(mark) if !s.run_a_little(mark)? => Err(Code::NotReady.into()),
            _ => Ok(()),
        }
    }

    Health [cuEventElapsedTime cuEventElapsedTime_v2](milliseconds: *mut f32, start: u64, end: u64) |s| {
        put(milliseconds, s.elapsed(start, end)?)
    }
}
