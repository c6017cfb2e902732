package executor

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/internal/mask"
)

// A secret of which the limit of output has left the beginning is masked.
func TestCutOutput(t *testing.T) {
	for limit, want := range map[int64]string{12: "token ***", 13: "token 012345"} {
		o := output{
			log:  logFile{dir: &freshDir{run: t.TempDir(), name: func() string { return "logs" }}, name: "s", try: 1, stream: "stdout"},
			mask: mask.Stream{Mask: mask.New(map[string]string{"S": "0123456789"})},
		}
		if _, err := o.Write([]byte("token 012345")); err != nil {
			t.Fatal(err)
		}
		if s, err := o.close(limit); err != nil || s.Head != want || s.Cut != (limit == 12) {
			t.Errorf("limit %d: %+v, %v", limit, s, err)
		}
	}
}

func TestOutput(t *testing.T) {
	dir := t.TempDir()
	euro := "€" // three bytes
	tests := []struct {
		name       string
		text       string
		head, tail string
	}{
		{"short", "hello\n", "hello\n", ""},
		{"not text", "a\xffb\xe2\x82", "a\uFFFDb\uFFFD", ""},
		{"all of the head", strings.Repeat("x", shown), strings.Repeat("x", shown), ""},
		{"one more", strings.Repeat("x", shown) + "y", strings.Repeat("x", shown), "y"},
		{"a character on the border", strings.Repeat("x", shown-1) + euro + "z", strings.Repeat("x", shown-1), euro + "z"},
		{"both full", strings.Repeat("x", shown) + strings.Repeat("y", shown), strings.Repeat("x", shown), strings.Repeat("y", shown)},
		{"beyond", strings.Repeat("x", shown) + "lost" + strings.Repeat("y", shown), strings.Repeat("x", shown), strings.Repeat("y", shown)},
		{"characters cut at both ends", strings.Repeat("x", shown-1) + strings.Repeat(euro, shown), strings.Repeat("x", shown-1), strings.Repeat(euro, shown/3)},
	}
	for i, tt := range tests {
		for _, size := range []int{1, 7, 4095, 4097, 1 << 20} {
			o := output{log: logFile{dir: &freshDir{run: dir, name: func() string { return "logs" }}, name: "s", try: i*10 + size, stream: "stdout"}}
			for rest := []byte(tt.text); len(rest) > 0; {
				n := min(size, len(rest))
				if w, err := o.Write(rest[:n]); w != n || err != nil {
					t.Fatal(w, err)
				}
				rest = rest[n:]
			}
			s, err := o.close(math.MaxInt64)
			if err != nil {
				t.Fatal(err)
			}
			if s.Head != tt.head || s.Tail != tt.tail {
				t.Errorf("%s in writes of %d: head %.20q (%d), tail %.20q (%d)", tt.name, size, s.Head, len(s.Head), s.Tail, len(s.Tail))
			}
			sum := sha256.Sum256([]byte(tt.text))
			data, err := os.ReadFile(filepath.Join(dir, s.Path))
			if s.Size != int64(len(tt.text)) || s.SHA256 != hex.EncodeToString(sum[:]) || string(data) != tt.text || err != nil {
				t.Errorf("%s: %+v %v", tt.name, s, err)
			}
		}
	}
	t.Run("nothing", func(t *testing.T) {
		o := output{log: logFile{dir: &freshDir{run: dir, name: func() string { return "none" }}, name: "s", stream: "stdout"}}
		if s, err := o.close(math.MaxInt64); s.Path != "" || s.SHA256 != "" || err != nil {
			t.Errorf("%+v, %v", s, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "none")); !os.IsNotExist(err) {
			t.Errorf("a folder was made: %v", err)
		}
	})
	t.Run("no room", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		o := output{log: logFile{dir: &freshDir{run: dir, name: func() string { return "file/logs" }}, name: "s", stream: "stdout"}}
		if n, err := o.Write([]byte("x")); n != 1 || err != nil {
			t.Errorf("the command sees it: %v", err)
		}
		if _, err := o.close(math.MaxInt64); err == nil {
			t.Error("no error")
		}
	})
}

func TestListens(t *testing.T) {
	table := `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 36713
   1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 36714
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000
`
	for port, want := range map[int]bool{8080: true, 8081: false, 80: true, 0x190: false} {
		if got := listens(table, port); got != want {
			t.Errorf("port %d: %v", port, got)
		}
	}
}
