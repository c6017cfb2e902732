package rawclone

import (
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory is what a child reads, outside of the Go heap.
type memory struct {
	chunks [][]byte
	left   []byte // of the last chunk
}

// chunkSize is enough for all but large programs. Chunks of this size are kept for the next program.
const chunkSize = 64 << 10

var (
	chunkMu sync.Mutex
	spare   [][]byte
)

const wordSize = int(unsafe.Sizeof(uintptr(0)))

// alloc returns n bytes of zeros, aligned for any type.
func (m *memory) alloc(n int) []byte {
	size := (n + 15) &^ 15
	if size > len(m.left) {
		c := newChunk(max(size, chunkSize))
		m.chunks = append(m.chunks, c)
		m.left = c
	}
	b := m.left[:n:size]
	m.left = m.left[size:]
	clear(b)
	return b
}

func newChunk(n int) []byte {
	if n == chunkSize {
		chunkMu.Lock()
		defer chunkMu.Unlock()
		if last := len(spare) - 1; last >= 0 {
			c := spare[last]
			spare = spare[:last]
			return c
		}
	}
	c, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		panic("rawclone: out of memory: " + err.Error()) // as the runtime does where its heap cannot grow
	}
	return c
}

func (m *memory) free() {
	chunkMu.Lock()
	defer chunkMu.Unlock()
	for _, c := range m.chunks {
		if len(c) == chunkSize && len(spare) < 16 {
			spare = append(spare, c)
		} else {
			_ = unix.Munmap(c)
		}
	}
	m.chunks, m.left = nil, nil
}

func words(b []byte) []uintptr {
	return unsafe.Slice((*uintptr)(unsafe.Pointer(&b[0])), len(b)/wordSize)
}

// The part of the address space that Slim keeps from children; zero: none.
var heapStart, heapSize uintptr

// Slim keeps the Go heap of this process from the children it clones from now on. Copying it, and copying every page
// again that this process writes to afterwards, is most of what a clone costs; and a child that stays has no business
// with what is in it. It is for a process that makes children by this package only.
func Slim() {
	const arena = 64 << 20 // what the runtime reserves at a time, aligned
	x := new([64]byte)
	heapStart = uintptr(unsafe.Pointer(x)) &^ (arena - 1)
	heapSize = arena
	hide()
}

// hide is done again after each clone: it takes in what the heap has grown by.
//
//go:nosplit
func hide() {
	syscall.RawSyscall(unix.SYS_MADVISE, heapStart, heapSize, unix.MADV_DONTFORK)
}

var pageSize = uintptr(os.Getpagesize())

// show lets a child have the part of the stack around sp that it needs: the frame of clone, and what interpret and the
// functions below it take, which is less than a thousand bytes, since they are nosplit.
//
//go:nosplit
func show(sp uintptr) syscall.Errno {
	start := (sp - 2048) &^ (pageSize - 1)
	end := (sp + 2048 + pageSize - 1) &^ (pageSize - 1)
	_, _, e := syscall.RawSyscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DOFORK)
	return e
}
