//! The way from a C call to the state and back.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::code::{Code, Failure, Outcome};
use super::model::Model;
use super::state::State;

thread_local! {
    /// Why this thread's last failing call failed, where the emulator knows more than the code says.
    static WHY: RefCell<String> = const { RefCell::new(String::new()) };
    /// This thread's current context: 0 or [`CONTEXT`].
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

/// The handle of the primary context.
pub const CONTEXT: u64 = 0xC0;

/// What a call needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing but the driver.
    Driver,
    /// A context that is current to the thread, broken or not.
    Context,
    /// A context that is current to the thread and that no fault has broken.
    Health,
}

fn state() -> MutexGuard<'static, State> {
    static STATE: OnceLock<Mutex<State>> = OnceLock::new();
    let state = STATE.get_or_init(|| Mutex::new(State::new(Model::from_environment())));
    // What a panic left is checked by the next call as well as anything else is.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the body of a call. No panic passes.
pub fn enter(needs: Needs, body: impl FnOnce(&mut State) -> Outcome) -> c_int {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut state = state();
        if needs != Needs::Driver && (state.retained == 0 || CURRENT.get() != CONTEXT) {
            return Err(if state.initialized { Code::InvalidContext } else { Code::NotInitialized }.into());
        }
        match &state.broken {
            Some(fault) if needs == Needs::Health => Err(fault.clone()),
            _ => body(&mut state),
        }
    }));
    match outcome.unwrap_or_else(|_| {
        Err(Failure::new(Code::Unknown, "the emulated driver panicked: this is a fault of its own"))
    }) {
        Ok(()) => 0,
        Err(failure) => {
            WHY.set(failure.why);
            failure.code as c_int
        }
    }
}

/// Why the context is broken, or else why this thread's last failing call failed; empty if there is no more to say than the
/// code.
pub fn why() -> String {
    let broken = state().broken.clone();
    broken.map_or_else(|| WHY.with_borrow(String::clone), |fault| fault.why)
}

pub fn current() -> u64 {
    CURRENT.get()
}

pub fn set_current(context: u64) {
    CURRENT.set(context);
}

/// Writes a result to where the caller wants it.
///
/// # Safety
/// `to` is null or may be written.
pub unsafe fn put<T>(to: *mut T, value: T) -> Outcome {
    if to.is_null() {
        return Err(Code::InvalidValue.into());
    }
    // SAFETY: as the caller promised.
    unsafe { to.write(value) };
    Ok(())
}

/// Defines exported functions, each under one or more names: `Needs [name other_name](arguments) |state| { body }`. The
/// body is an [`Outcome`].
///
/// SAFETY of all bodies: the caller of a C function passes what cuda.h asks for. Pointers may be null where that is checked.
macro_rules! exports {
    ($($needs:ident [$($name:ident)+] $args:tt |$state:ident| $body:block)*) => {
        $($($crate::driver::call::exports! { @one $needs $name $args $state $body })+)*
    };
    (@one $needs:ident $name:ident ($($arg:ident: $type:ty),*) $state:ident $body:block) => {
        // Some arguments are there because cuda.h has them.
        #[allow(non_snake_case, unused_variables)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $type),*) -> std::ffi::c_int {
            // SAFETY: see the macro.
            #[allow(unused_unsafe)]
            $crate::driver::call::enter($crate::driver::call::Needs::$needs, |$state| unsafe { $body })
        }
    };
}
pub(crate) use exports;
