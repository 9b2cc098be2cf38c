//! Modules, kernels and launches.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use super::call::{exports, put};
use super::code::{Code, Failure, Outcome};
use super::model::SHARED_WITHOUT_ASKING;
use super::state::{Function, State};
use super::work::Work;
use crate::machine::{Launch, MAX_THREADS_PER_BLOCK};
use crate::ptx::{Kernel, Module};

/// The first bytes of machine code, which is an ELF file.
const ELF: &[u8] = b"\x7fELF";

impl State {
    fn load(&mut self, image: &[u8]) -> Outcome<u64> {
        if image.starts_with(ELF) {
            return Err(Failure::new(Code::NoBinaryForGpu, "the emulated device runs PTX, not machine code"));
        }
        let text =
            std::str::from_utf8(image).map_err(|_| Failure::new(Code::InvalidImage, "the module is no PTX text"))?;
        let target = target(text).ok_or_else(|| Failure::new(Code::InvalidPtx, "the module has no .target sm_N"))?;
        if target > self.model.sm {
            let why = format!("the module is for sm_{target}, the emulated device is sm_{}", self.model.sm);
            return Err(Failure::new(Code::InvalidPtx, why));
        }
        let mut module = Module::parse(text).map_err(|why| Failure::new(Code::InvalidPtx, why))?;
        module.place(&mut self.memory).map_err(|fault| Failure::new(Code::OutOfMemory, fault.to_string()))?;
        let handle = self.handle();
        self.modules.insert(handle, module);
        Ok(handle)
    }

    fn kernel(&self, function: &Function) -> Outcome<&Kernel> {
        let module = self.modules.get(&function.module).ok_or(Code::InvalidHandle)?;
        module.kernel(&function.name).ok_or_else(|| Code::NotFound.into())
    }

    /// Puts a launch into a stream, unless a real device would refuse it. `params` reads the parameters of a kernel.
    fn launch(
        &mut self,
        function: u64,
        (grid, block, shared_bytes): ([u32; 3], [u32; 3], u32),
        cooperative: bool,
        stream: u64,
        params: impl FnOnce(&Kernel) -> Outcome<Vec<u8>>,
    ) -> Outcome {
        let function = self.function(function)?.clone();
        let kernel = self.kernel(&function)?;
        let refused = |why: String| Err(Failure::new(Code::InvalidValue, format!("{}: {why}", function.name)));
        let threads = block.iter().map(|&n| u64::from(n)).product::<u64>();
        let most = kernel.max_threads.unwrap_or(MAX_THREADS_PER_BLOCK);
        if threads == 0 || threads > u64::from(most) || block[2] > 64 {
            return refused(format!("a block of {block:?} threads; it may have 1 to {most}, and 64 in z"));
        }
        if grid.contains(&0) || grid[0] > i32::MAX as u32 || grid[1] > 65535 || grid[2] > 65535 {
            return refused(format!(
                "a grid of {grid:?} blocks; it needs at least one, and has at most 65535 in y and z"
            ));
        }
        if shared_bytes > function.shared_limit {
            let limit = function.shared_limit;
            return refused(format!(
                "{shared_bytes} bytes of dynamic shared memory; the function may have {limit}, unless its attribute allows more"
            ));
        }
        if cooperative {
            let blocks = grid.iter().map(|&n| u64::from(n)).product::<u64>();
            let each = self.model.blocks_per_multiprocessor(threads as u32, kernel.shared_bytes + shared_bytes);
            let resident = u64::from(each) * u64::from(self.model.multiprocessors);
            if blocks > resident {
                let why = format!(
                    "{}: {blocks} blocks that wait for each other, but {resident} are resident at once",
                    function.name
                );
                return Err(Failure::new(Code::CooperativeLaunchTooLarge, why));
            }
        }
        let launch = Launch { grid, block, shared_bytes, params: params(kernel)?, ..Launch::default() };
        self.issue(stream, Work::Launch { module: function.module, kernel: function.name, launch })
    }

    fn blocks(&self, function: u64, threads: c_int, shared: usize) -> Outcome<c_int> {
        let kernel = self.kernel(self.function(function)?)?;
        let threads = u32::try_from(threads).ok().filter(|&n| n > 0).ok_or(Code::InvalidValue)?;
        if threads > kernel.max_threads.unwrap_or(MAX_THREADS_PER_BLOCK) {
            return Ok(0);
        }
        let shared = kernel.shared_bytes.saturating_add(u32::try_from(shared).unwrap_or(u32::MAX));
        Ok(self.model.blocks_per_multiprocessor(threads, shared) as c_int)
    }
}

/// The number behind `.target sm_`.
fn target(text: &str) -> Option<u32> {
    let behind =
        text.lines().find_map(|line| line.trim_start().strip_prefix(".target")?.trim_start().strip_prefix("sm_"))?;
    let digits = behind.find(|c: char| !c.is_ascii_digit()).map_or(behind, |end| &behind[..end]);
    digits.parse().ok()
}

/// The bytes of a kernel's parameters, from one pointer for each, or from one block of bytes (`extra`).
///
/// # Safety
/// The pointers are as cuLaunchKernel wants them.
unsafe fn gather(kernel: &Kernel, pointers: *mut *mut c_void, extra: *mut *mut c_void) -> Outcome<Vec<u8>> {
    let mut bytes = vec![0; kernel.param_bytes as usize];
    if !extra.is_null() {
        return Err(Failure::new(Code::NotSupported, "parameters in `extra`; pass one pointer for each"));
    }
    if kernel.params.is_empty() {
        return Ok(bytes);
    }
    if pointers.is_null() {
        return Err(Failure::new(Code::InvalidValue, format!("{} has parameters, and none were passed", kernel.name)));
    }
    for (index, param) in kernel.params.iter().enumerate() {
        let to = &mut bytes[param.offset as usize..(param.offset + param.size) as usize];
        // SAFETY: there is a pointer for each parameter, to as many bytes as it has.
        let from = unsafe { std::slice::from_raw_parts(pointers.add(index).read().cast::<u8>(), to.len()) };
        to.copy_from_slice(from);
    }
    Ok(bytes)
}

/// # Safety
/// `name` is null or ends with a zero.
unsafe fn name_at(name: *const c_char) -> Outcome<String> {
    if name.is_null() {
        return Err(Code::InvalidValue.into());
    }
    // SAFETY: as the caller promised.
    Ok(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

/// The bytes of an image: PTX up to its final zero, or the mark of machine code.
///
/// # Safety
/// `image` is null, or text that ends with a zero, or machine code.
unsafe fn image_at<'a>(image: *const c_void) -> Outcome<&'a [u8]> {
    if image.is_null() {
        return Err(Code::InvalidValue.into());
    }
    // SAFETY: machine code has a zero byte soon after its mark, so this ends within it.
    Ok(unsafe { CStr::from_ptr(image.cast()) }.to_bytes())
}

/// `CUlaunchConfig`.
#[repr(C)]
struct LaunchConfig {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared_bytes: c_uint,
    stream: u64,
    attributes: *const LaunchAttribute,
    attribute_count: c_uint,
}

/// `CUlaunchAttribute`: the value's first member is the only one that is read here.
#[repr(C, align(8))]
struct LaunchAttribute {
    id: c_int,
    padding: [u8; 4],
    value: c_int,
    rest: [u8; 60],
}

/// `CU_LAUNCH_ATTRIBUTE_COOPERATIVE`.
const COOPERATIVE: c_int = 2;

exports! {
    Health [cuModuleLoadData](module: *mut u64, image: *const c_void) |s| { put(module, s.load(image_at(image)?)?) }

    // The options are about compilers that are not here.
    Health [cuModuleLoadDataEx](
        module: *mut u64,
        image: *const c_void,
        count: c_uint,
        options: *mut c_int,
        values: *mut *mut c_void
    ) |s| { put(module, s.load(image_at(image)?)?) }

    Health [cuModuleLoad](module: *mut u64, path: *const c_char) |s| {
        let path = name_at(path)?;
        let missing = |cause| Failure::new(Code::FileNotFound, format!("{path}: {cause}"));
        let bytes = std::fs::read(&path).map_err(missing)?;
        put(module, s.load(&bytes)?)
    }

    Health [cuModuleUnload](module: u64) |s| {
        s.run_all()?;
        let mut module_state = s.modules.remove(&module).ok_or(Code::InvalidHandle)?;
        module_state.unplace(&mut s.memory);
        s.functions.retain(|_, function| function.module != module);
        Ok(())
    }

    Health [cuModuleGetFunction](function: *mut u64, module: u64, name: *const c_char) |s| {
        let name = name_at(name)?;
        let module_state = s.modules.get(&module).ok_or(Code::InvalidHandle)?;
        let missing = || Failure::new(Code::NotFound, format!("the module has no kernel {name}"));
        let kernel = module_state.kernel(&name).ok_or_else(missing)?;
        let shared_limit = SHARED_WITHOUT_ASKING.saturating_sub(kernel.shared_bytes);
        let handle = s.handle();
        s.functions.insert(handle, Function { module, name: name.into(), shared_limit });
        put(function, handle)
    }

    Health [cuModuleGetGlobal_v2 cuModuleGetGlobal](at: *mut u64, bytes: *mut usize, module: u64, name: *const c_char) |s| {
        let name = name_at(name)?;
        let (address, length) = s.modules.get(&module).ok_or(Code::InvalidHandle)?.global(&name).ok_or(Code::NotFound)?;
        put(at, address)?;
        put(bytes, length as usize)
    }

    Health [cuFuncGetAttribute](value: *mut c_int, attribute: c_int, function: u64) |s| {
        let function = s.function(function)?;
        let kernel = s.kernel(function)?;
        let number = match attribute {
            0 => kernel.max_threads.unwrap_or(MAX_THREADS_PER_BLOCK),
            1 => kernel.shared_bytes,
            3 => kernel.local_bytes,
            5 | 6 => s.model.sm,
            8 => function.shared_limit,
            // Constant memory, registers, caches: nothing that PTX would know.
            2 | 4 | 7 | 9..=15 => 0,
            _ => return Err(Code::InvalidValue.into()),
        };
        put(value, number as c_int)
    }

    Health [cuFuncSetAttribute](function: u64, attribute: c_int, value: c_int) |s| {
        let kernel_shared = s.kernel(s.function(function)?)?.shared_bytes;
        let most = s.model.shared_per_block.saturating_sub(kernel_shared);
        let function = s.functions.get_mut(&function).ok_or(Code::InvalidHandle)?;
        match (attribute, u32::try_from(value)) {
            (8, Ok(bytes)) if bytes <= most => function.shared_limit = bytes,
            (8, _) => {
                let why = format!("{value} bytes of shared memory; {} may have {most}", function.name);
                return Err(Failure::new(Code::InvalidValue, why));
            }
            // How shared memory and cache share their place.
            (9, _) => {}
            _ => return Err(Code::InvalidValue.into()),
        }
        Ok(())
    }

    Health [cuFuncGetParamInfo](function: u64, index: usize, offset: *mut usize, size: *mut usize) |s| {
        let param = s.kernel(s.function(function)?)?.params.get(index).ok_or(Code::InvalidValue)?;
        put(offset, param.offset as usize)?;
        if size.is_null() { Ok(()) } else { put(size, param.size as usize) }
    }

    Health [cuOccupancyMaxActiveBlocksPerMultiprocessor](blocks: *mut c_int, function: u64, threads: c_int, shared: usize) |s| {
        put(blocks, s.blocks(function, threads, shared)?)
    }

    Health [cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags](
        blocks: *mut c_int,
        function: u64,
        threads: c_int,
        shared: usize,
        flags: c_uint
    ) |s| { put(blocks, s.blocks(function, threads, shared)?) }

    Health [cuLaunchKernel](
        function: u64,
        grid_x: c_uint, grid_y: c_uint, grid_z: c_uint,
        block_x: c_uint, block_y: c_uint, block_z: c_uint,
        shared: c_uint,
        stream: u64,
        params: *mut *mut c_void,
        extra: *mut *mut c_void
    ) |s| {
        let shape = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z], shared);
        s.launch(function, shape, false, stream, |kernel| gather(kernel, params, extra))
    }

    Health [cuLaunchCooperativeKernel](
        function: u64,
        grid_x: c_uint, grid_y: c_uint, grid_z: c_uint,
        block_x: c_uint, block_y: c_uint, block_z: c_uint,
        shared: c_uint,
        stream: u64,
        params: *mut *mut c_void
    ) |s| {
        let shape = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z], shared);
        s.launch(function, shape, true, stream, |kernel| gather(kernel, params, std::ptr::null_mut()))
    }

    Health [cuLaunchKernelEx](config: *const LaunchConfig, function: u64, params: *mut *mut c_void, extra: *mut *mut c_void) |s| {
        let config = config.as_ref().ok_or(Code::InvalidValue)?;
        let attributes = match config.attribute_count {
            0 => &[],
            count => std::slice::from_raw_parts(config.attributes, count as usize),
        };
        if let Some(other) = attributes.iter().find(|attribute| attribute.id != COOPERATIVE) {
            return Err(Failure::new(Code::NotSupported, format!("launch attribute {}", other.id)));
        }
        let cooperative = attributes.iter().any(|attribute| attribute.value != 0);
        let shape = (config.grid, config.block, config.shared_bytes);
        s.launch(function, shape, cooperative, config.stream, |kernel| gather(kernel, params, extra))
    }
}
