package seccomp

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestX32(t *testing.T) {
	for _, n := range []uint32{x32, x32 | unix.SYS_READ, x32 | unix.SYS_SETNS, 0x7fffffff} {
		if got := judge(t, Options{}, auditArch, n); got != dead {
			t.Errorf("call %#x: %#x", n, got)
		}
	}
}

// The kernel ends programs that use another ABI's calls. Some have no such calls at all (virtual machines without hardware
// support answer int 0x80 with a fault): there a program ends of them without the filter as well.
func TestForeignCallsKill(t *testing.T) {
	for name, code := range map[string][]byte{
		"int 0x80": {0xb8, 20, 0, 0, 0, 0xcd, 0x80},                 // mov eax, getpid; int 0x80
		"x32":      {0xb8, unix.SYS_GETPID, 0, 0, 0x40, 0x0f, 0x05}, // mov eax, x32|getpid; syscall
	} {
		t.Run(name, func(t *testing.T) {
			path, want := writeProgram(t, code), unix.SIGSYS
			if free := run(t, exec.Command(path)); free.Signaled() {
				want = free.Signal()
				t.Logf("this kernel has no such calls: %v without the filter", want)
			}
			if ws := runChild(t, "exec:"+path); !ws.Signaled() || ws.Signal() != want {
				t.Errorf("ended with %#x, want %v", ws, want)
			}
		})
	}
	// The same program without such a call, to know that it would have run.
	if ws := runChild(t, "exec:"+writeProgram(t, nil)); !ws.Exited() || ws.ExitStatus() != 0 {
		t.Errorf("ended with %#x", ws)
	}
}

// writeProgram makes an executable of machine code that is followed by exit(0).
func writeProgram(t *testing.T, code []byte) string {
	t.Helper()
	const base, headers = 0x400000, 64 + 56
	code = append(code, 0xbf, 0, 0, 0, 0, 0xb8, unix.SYS_EXIT, 0, 0, 0, 0x0f, 0x05) // mov edi, 0; mov eax, exit; syscall
	size := uint64(headers + len(code))
	var b []byte
	for _, part := range []any{
		elf.Header64{
			Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Entry: base + headers,
			Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
		},
		elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Filesz: size, Memsz: size, Align: 0x1000},
		code,
	} {
		var err error
		if b, err = binary.Append(b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
