package rawclone

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
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

// chunkSize is enough for all but large programs. Chunks of this size lie in one region, as many as there are, and are
// used again; so what is there of programs can be told from all other memory.
const (
	chunkSize = 64 << 10
	chunks    = 32
)

var (
	chunkMu sync.Mutex
	region  []byte
	spare   [][]byte // chunks of the region
	outside int      // chunks in use that are not in it
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
	chunkMu.Lock()
	defer chunkMu.Unlock()
	if region == nil {
		region = pages(chunks * chunkSize)
		for c := range slices.Chunk(region, chunkSize) {
			spare = append(spare, c)
		}
	}
	if last := len(spare) - 1; n == chunkSize && last >= 0 {
		c := spare[last] // the one that was used last
		spare = spare[:last]
		return c
	}
	outside++
	return pages(n)
}

func pages(n int) []byte {
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
		if inRegion(c) {
			spare = append(spare, c)
		} else {
			outside--
			_ = unix.Munmap(c)
		}
	}
	m.chunks, m.left = nil, nil
}

func inRegion(chunk []byte) bool {
	at, start := uintptr(unsafe.Pointer(&chunk[0])), uintptr(unsafe.Pointer(&region[0]))
	return at >= start && at < start+uintptr(len(region))
}

func words(b []byte) []uintptr {
	return unsafe.Slice((*uintptr)(unsafe.Pointer(&b[0])), len(b)/wordSize)
}

// The first arena of the Go heap, which holds the stacks; zero: nothing is kept from children.
var heapStart, heapSize uintptr

// plain says that all other memory is kept from them too.
var plain bool

// Slim keeps the writable memory of this process, all but that of programs, from the children it clones from now on:
// copying it, and copying each page again that this process writes to afterwards, is most of what a clone costs, and a
// child that stays has no business with what is in it. It is for a process that makes children by this package only.
//
// In a binary that may have a C library it is the heap alone: the kernel writes to memory of each thread that the library
// has registered (rseq), also in a child. So it is in one that counts what tests cover, which interpret does too then.
func Slim() error {
	const arena = 64 << 20 // what the runtime reserves at a time, aligned
	heapStart, heapSize = uintptr(unsafe.Pointer(new([64]byte)))&^(arena-1), arena
	hide()
	one.Lock()
	defer one.Unlock()
	if plain = isPlain(); !plain {
		return nil
	}
	return hideRest()
}

// hideRest keeps what is mapped now from children: not only once, since the runtime maps more as it goes on. While there
// are programs outside of the region it leaves that for later. No child may be cloned meanwhile.
func hideRest() error {
	chunkMu.Lock()
	defer chunkMu.Unlock()
	if outside > 0 {
		return nil
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for line := range bytes.Lines(maps) {
		var start, end uintptr
		var mode string
		if _, err := fmt.Sscanf(string(line), "%x-%x %s", &start, &end, &mode); err != nil {
			return fmt.Errorf("/proc/self/maps: %w", err)
		}
		if mode == "rw-p" || mode == "---p" {
			if err := dontFork(start, end-start); err != 0 && err != unix.ENOMEM { // unmapped meanwhile
				return fmt.Errorf("keep %s from children: %w", bytes.TrimSpace(line), err)
			}
		}
	}
	if len(region) == 0 {
		return nil
	}
	return unix.Madvise(region, unix.MADV_DOFORK)
}

func isPlain() (plain bool) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "CGO_ENABLED":
			plain = s.Value == "0"
		case "-cover":
			return false
		}
	}
	return plain
}

//go:nosplit
func dontFork(start, size uintptr) syscall.Errno {
	_, _, e := syscall.RawSyscall(unix.SYS_MADVISE, start, size, unix.MADV_DONTFORK)
	return e
}

// hide is done after each clone: it takes in what the heap has grown by.
//
//go:nosplit
func hide() { _ = dontFork(heapStart, heapSize) }

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
