//! An allocator and a panic handler for an agent without `std`.
//!
//! Blocks are powers of two from 16 bytes, each size with a list of free ones; new ones are cut from the end of memory.

use crate::abi;
use alloc::string::ToString;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::panic::PanicInfo;

const SMALLEST: usize = 16;
const PAGE: usize = 65536;

struct State {
    free: [*mut u8; 32], // by the power; a free block starts with a pointer to the next
    at: usize,
    end: usize,
}

struct Blocks(UnsafeCell<State>);

// SAFETY: a module has one thread
unsafe impl Sync for Blocks {}

#[global_allocator]
static BLOCKS: Blocks = Blocks(UnsafeCell::new(State { free: [core::ptr::null_mut(); 32], at: 0, end: 0 }));

fn size_of(layout: Layout) -> Option<usize> {
    let size = layout.size().max(layout.align()).max(SMALLEST);
    if size > 1 << 31 {
        None
    } else {
        Some(size.next_power_of_two())
    }
}

impl State {
    unsafe fn cut(&mut self, size: usize) -> *mut u8 {
        let aligned = (self.at + SMALLEST - 1) & !(SMALLEST - 1);
        // large alignments are rare: a block is at a multiple of its size only up to a page
        let aligned = if size <= PAGE { (aligned + size - 1) & !(size - 1) } else { aligned };
        if self.at == 0 || size > self.end.saturating_sub(aligned) {
            let pages = (size + PAGE - 1) / PAGE;
            let before = core::arch::wasm32::memory_grow(0, pages);
            if before == usize::MAX {
                return core::ptr::null_mut();
            }
            self.at = before * PAGE;
            self.end = self.at + pages * PAGE;
            return self.cut(size);
        }
        self.at = aligned + size;
        aligned as *mut u8
    }
}

unsafe impl GlobalAlloc for Blocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let state = &mut *self.0.get();
        let size = match size_of(layout) {
            Some(size) if layout.align() <= PAGE => size,
            _ => return core::ptr::null_mut(),
        };
        let list = &mut state.free[size.trailing_zeros() as usize];
        if list.is_null() {
            return state.cut(size);
        }
        let block = *list;
        *list = *(block as *mut *mut u8);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(size) = size_of(layout) {
            let list = &mut (*self.0.get()).free[size.trailing_zeros() as usize];
            *(block as *mut *mut u8) = *list;
            *list = block;
        }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    let text = info.to_string();
    // SAFETY: one live string
    unsafe { abi::console_error(text.as_ptr(), text.len()) };
    core::arch::wasm32::unreachable()
}
