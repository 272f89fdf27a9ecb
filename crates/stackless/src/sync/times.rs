//! The arguments `blocking` and `timeout` of `threading` and `queue`, with the wording of their errors.

use crate::python::objects::*;
use pyo3_ffi::*;

/// The maximum of a lock's timeout in nanoseconds: `threading.TIMEOUT_MAX`.
const TIMEOUT_MAX: f64 = 9_223_372_036e9;

/// Seconds as nanoseconds, for a number.
fn nanoseconds(timeout: Obj) -> Res<f64> {
    // SAFETY: a living object.
    let seconds = unsafe {
        if PyFloat_Check(timeout) != 0 {
            PyFloat_AsDouble(timeout)
        } else {
            let whole = check(PyNumber_Index(timeout))?;
            let seconds = PyLong_AsDouble(whole);
            drop_ref(whole);
            seconds
        }
    };
    if seconds == -1.0 && raised() {
        return Err(Raised);
    }
    if seconds.is_nan() {
        return Err(raise(Exc::Value, "Invalid value NaN (not a number)"));
    }
    Ok(seconds * 1e9)
}

/// For `acquire(blocking=True, timeout=-1)` of a lock: the maximum wait, 0 for none, None for no limit.
pub fn of_lock(blocking: Obj, timeout: Obj) -> Res<Option<u64>> {
    let blocking = blocking.is_null() || is_true(blocking)?;
    let time = if timeout.is_null() { -1e9 } else { nanoseconds(timeout)? };
    let unlimited = time == -1e9;
    if !blocking && !unlimited {
        return Err(raise(Exc::Value, "can't specify a timeout for a non-blocking call"));
    }
    if time < 0.0 && !unlimited {
        return Err(raise(Exc::Value, "timeout value must be a non-negative number"));
    }
    if time > TIMEOUT_MAX {
        return Err(raise(Exc::Overflow, "timeout value is too large"));
    }
    Ok(match (blocking, unlimited) {
        (false, _) => Some(0),
        (true, true) => None,
        (true, false) => Some(time as u64),
    })
}

/// For `timeout=None`: the maximum wait, 0 if it is not positive, None for no limit.
pub fn of_wait(timeout: Obj) -> Res<Option<u64>> {
    let Some(timeout) = some(timeout) else { return Ok(None) };
    nanoseconds(timeout).map(|time| Some(time.max(0.0) as u64)) // saturates
}

/// For `acquire(blocking=True, timeout=None)` of a semaphore.
pub fn of_semaphore(blocking: Obj, timeout: Obj) -> Res<Option<u64>> {
    if !blocking.is_null() && !is_true(blocking)? {
        if some(timeout).is_some() {
            return Err(raise(Exc::Value, "can't specify timeout for non-blocking acquire"));
        }
        return Ok(Some(0));
    }
    of_wait(timeout)
}

/// For `block=True, timeout=None` of a queue.
pub fn of_queue(block: Obj, timeout: Obj) -> Res<Option<u64>> {
    if !block.is_null() && !is_true(block)? {
        return Ok(Some(0));
    }
    let Some(timeout) = some(timeout) else { return Ok(None) };
    let time = nanoseconds(timeout)?;
    if time < 0.0 {
        return Err(raise(Exc::Value, "'timeout' must be a non-negative number"));
    }
    Ok(Some(time as u64)) // saturates
}
