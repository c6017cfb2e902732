package shell

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

func TestParse(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	_, err := parse([]byte("sbx1 7 123 end 0 0 - 12 0 - - .\n1 2\n"+b64([]byte("out"))+"\n2 0\n"+b64([]byte("er"))+"\n"+b64([]byte("ror"))+"\nfed 3\n.\n"), "7")
	if err == nil { // a base64 that was encoded in two pieces is not what any program writes
		t.Error("padding in the middle is accepted")
	}
	a, err := parse([]byte("sbx1 7 123 end 0 0 - 12 0 - - .\n1 2\n"+b64([]byte("out"))+"\n2 0\n"+b64([]byte("error!"))[:4]+"\n"+b64([]byte("error!"))[4:]+"\nfed 3\n.\n"), "7")
	if err != nil || a.state != stateEnd || a.text != "0 0 - 12 0 - - ." || a.boot != "123" || a.parts[1].start != 2*block ||
		string(a.parts[1].data) != "out" || string(a.parts[2].data) != "error!" || fed(a) != 3 || a.size != 9 {
		t.Errorf("%+v, %v", a, err)
	}
	a, err = parse([]byte("sbx1 7 123 end 0 0 - 12 0 - - .\n1= 7\ntwo\n.\n!\n2 0 2\n"+b64([]byte("x\nerr"))+"\n.\n"), "7")
	if err != nil || string(a.parts[1].data) != "two\n.\n!" || a.parts[1].start != 0 || string(a.parts[2].data) != "x\nerr" || a.parts[2].start != -2 {
		t.Errorf("%+v, %v", a, err)
	}
	for name, text := range map[string]string{
		"text cut": "sbx1 7 1 run\n1= 10\nab\n.\n", "text of less than nothing": "sbx1 7 1 run\n1= -1\nab\n.\n", "skips much": "sbx1 7 1 run\n1 0 5000\nYWJj\n.\n",
		"empty": "", "another number": "sbx1 8 1 run\n.\n", "cut": "sbx1 7 1 run\n", "cut in data": "sbx1 7 1 run\n1 0\nYWJj\n",
		"not ours": "Failed to execute command: no\n", "no state": "sbx1 7 1\n.\n", "no base64": "sbx1 7 1 run\n1 0\n!!!!\n.\n",
		"negative": "sbx1 7 1 run\n1 -1\nYWJj\n.\n", "huge": "sbx1 7 1 run\n1 9999999999999999999\nYWJj\n.\n",
		"lines": "sbx1 7 1 run\n" + strings.Repeat("x\n", 2000) + ".\n", "long": strings.Repeat("x", MaxReply+1),
	} {
		if a, err := parse([]byte(text), "7"); err == nil {
			t.Errorf("%s: accepted as %+v", name, a)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}

func TestParseEnd(t *testing.T) {
	e, err := parseEnd("143 15 timeout+stop 250 1 - - .")
	if err != nil || e != (ended{exit: 143, signal: 15, why: "timeout", stopped: true, hundredths: 250, oom: true}) {
		t.Errorf("%+v, %v", e, err)
	}
	for _, text := range []string{"", "0 0 - 1 0", "0 0 - 1 0 - - . .", "256 0 - 1 0 - - .", "-1 0 - 1 0 - - .", "0 9 - 1 0 - - .", "x 0 - 1 0 - - .", "137 9 - 99999999999999999999 0 - - ."} {
		if e, err := parseEnd(text); err == nil {
			t.Errorf("%q: accepted as %+v", text, e)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("sbx1 7 123 end 0 0 - 12 0 - - .\n1 2\nYWJj\n2 0\nYWJj\nfed 3\n.\n"))
	f.Add([]byte("sbx1 7 0 run\n.\n"))
	f.Add([]byte("sbx1 7 123 end 0 0 - 12 0 - - .\n1= 3\nabc\n2 0 2\nYWJj\n.\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		length := len(text)
		a, err := parse(text, "7")
		if err != nil {
			return
		}
		if a.size > length || len(a.lines) > length || a.parts[1].start < -block || a.parts[2].start < -block {
			t.Errorf("%d bytes became %+v", length, a)
		}
		var out bytes.Buffer
		o := output{w: &out, limit: 3}
		o.take(a.parts[1], largestWindow)
		o.take(a.parts[2], largestWindow)
		if out.Len() > 3 || o.seen < o.passed {
			t.Errorf("%d bytes passed, %+v", out.Len(), o)
		}
		if e, err := parseEnd(a.text); err == nil && (e.exit < 0 || e.exit > 255 || e.hundredths < 0) {
			t.Errorf("%+v", e)
		}
	})
}

func TestListParser(t *testing.T) {
	var got []string
	p := &listParser{mark: []byte("T0"), each: func(name string, f found) error {
		got = append(got, fmt.Sprintf("%s %v %d", name, f.mode, f.size))
		return nil
	}}
	list := "T0 81a4 5 1 ./a\nT0 41ed 0 1 ./two\nlines\nT0 a1ff 3 1 ./sp ace\nT0 81a4 x 1 ./bad\nnonsense\nT0 81a4 5 1 ./../../up\nT0 c1ed 0 1 ./sock\n"
	for _, b := range []byte(list) { // in the smallest parts
		if _, err := p.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	want := "a -rw-r--r-- 5|two\nlines drwxr-xr-x 0|sp ace Lrwxrwxrwx 3|up -rw-r--r-- 5|sock Srwxr-xr-x 0"
	if strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", strings.Join(got, "|"), want)
	}
}

// A file with a time that a tar cannot hold does not keep the others from their receiver.
func TestOddTimes(t *testing.T) {
	l := &listing{files: map[string]found{}}
	p := &listParser{mark: []byte("T0"), each: l.add}
	times := []string{"9223372036854775807", "-9223372036854775808", "9000000000000000000", "-1", "0", "1700000000"}
	for i, s := range times {
		if _, err := fmt.Fprintf(p, "T0 41ed 0 %s ./%d\n", s, i); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.end(); err != nil || len(l.files) != len(times) {
		t.Fatalf("%d files, %v", len(l.files), err)
	}
	var b bytes.Buffer
	f := &fetcher{out: tar.NewWriter(&b), files: l.files}
	for name, file := range l.files {
		if err := f.write(t.Context(), name, nil); err != nil {
			t.Errorf("%q, of %v: %v", name, file.time, err)
		}
	}
	if err := f.out.Close(); err != nil {
		t.Fatal(err)
	}
	for in := tar.NewReader(&b); ; {
		h, err := in.Next()
		if err != nil {
			break
		}
		if h.ModTime.Unix() < 0 || h.ModTime.Unix() > maxSeconds || h.Name == "5/" && h.ModTime.Unix() != 1700000000 {
			t.Errorf("%q is of %v", h.Name, h.ModTime)
		}
	}
}

// However much a list holds, memory of ours does not.
func TestListIsBounded(t *testing.T) {
	line := func(name string) []byte { return []byte("T0 81a4 5 1 ./" + name + "\n") }
	for what, make := range map[string]func(n int) []byte{
		"files":        func(n int) []byte { return line(fmt.Sprint(n)) },
		"names":        func(n int) []byte { return line(fmt.Sprint(n, strings.Repeat("x", 4000))) },
		"a name":       func(int) []byte { return line(strings.Repeat("x", maxRecord)) },
		"no line ends": func(int) []byte { return []byte(strings.Repeat("x", 1000)) },
	} {
		l := &listing{files: map[string]found{}}
		p := &listParser{mark: []byte("T0"), each: l.add}
		var err error
		for n := 0; n < maxFound+2 && err == nil; n++ {
			_, err = p.Write(make(n))
		}
		if sandbox.KindOf(err) != sandbox.KindInvalid || len(p.rest) > maxRecord+4096 || l.names > maxFoundNames+4096 || len(l.files) > maxFound {
			t.Errorf("%s: %v, with %d files, %d bytes of names and %d of a record", what, err, len(l.files), l.names, len(p.rest))
		}
	}
	p := &listParser{mark: []byte("T0"), each: func(string, found) error { return nil }}
	if _, err := p.Write(line(strings.Repeat("x", 4095))); err != nil || p.end() != nil {
		t.Errorf("a name as long as the kernel takes: %v, %v", err, p.err)
	}
}

func FuzzListParser(f *testing.F) {
	f.Add([]byte("T0 81a4 5 1 ./a\nT0 41ed 0 1 ./b\nc\n"))
	f.Fuzz(func(t *testing.T, list []byte) {
		p := &listParser{mark: []byte("T0"), each: func(name string, f found) error {
			if name == "" || name[0] == '/' || strings.HasPrefix(name, "../") || strings.ContainsRune(name, 0) || f.size < 0 {
				t.Errorf("%q: %+v", name, f)
			}
			return nil
		}}
		if _, err := p.Write(list); err == nil {
			_ = p.end()
		}
	})
}

func FuzzUntar(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{{Name: "a", Typeflag: tar.TypeReg, Size: 3}, {Name: "b", Typeflag: tar.TypeLink, Linkname: "a"}, {Name: "c", Typeflag: tar.TypeLink, Linkname: "none"}} {
		if err := w.WriteHeader(&h); err != nil {
			f.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte("abc")); err != nil {
				f.Fatal(err)
			}
		}
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, e := range untar(bytes.NewReader(b)) {
			if len(e.content) > packedBytes || name == "" || name[0] == '/' {
				t.Errorf("%q has %d bytes", name, len(e.content))
			}
		}
	})
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, base, rest string
		depth               int
		yes, no             string
	}{
		{"a/b", "a/b", "", -1, "a/b|a/b/c", ""},
		{"*.txt", "", "*.txt", 1, "x.txt|x.txt/below", "x|d/x.txt"},
		{"out/**/*.json", "out", "**/*.json", -1, "out/a.json|out/b/c/a.json", "out|out/b"},
		{`odd\*/x?`, "odd*", "x?", 1, "odd*/xy", "odd*/x"},
		{"/tmp/../etc/h*", "etc", "h*", 1, "etc/hosts", "etc"},
		{"{a,b/c}", "", "{a,b/c}", -1, "a|a/x|b/c", "b|b/d"},
		{".", "", "**", -1, "x|x/y", ""},
	} {
		g, err := parseGlob(c.pattern)
		if err != nil || g.base != c.base || g.rest != c.rest || g.depth != c.depth {
			t.Errorf("%q: %+v, %v", c.pattern, g, err)
		}
		for name := range strings.SplitSeq(c.yes, "|") {
			if name != "" && !g.matches(name) {
				t.Errorf("%q does not match %q", c.pattern, name)
			}
		}
		for name := range strings.SplitSeq(c.no, "|") {
			if name != "" && g.matches(name) {
				t.Errorf("%q matches %q", c.pattern, name)
			}
		}
	}
	for _, bad := range []string{"[", "a\x00", "/proc/self", "/proc"} {
		if g, err := parseGlob(bad); err == nil {
			t.Errorf("%q: accepted as %+v", bad, g)
		}
	}
}

// Marks have to be numbers that a shell's arithmetic and ulimit can take, and that no limit means.
func TestMarks(t *testing.T) {
	seen := map[int64]bool{}
	for _, n := range []uint32{0, 1, 2, 1<<28 - 1, 1 << 28, 1<<32 - 1} {
		command, supervisor := mark(n)
		if supervisor != command+1024 || command%1024 != 0 || !strings.HasPrefix(fmt.Sprint(command), "11529") || len(fmt.Sprint(command)) != 19 {
			t.Errorf("%d: %d, %d", n, command, supervisor)
		}
		if n < 1<<28 && (seen[command] || seen[supervisor]) {
			t.Errorf("%d: used twice", n)
		}
		seen[command], seen[supervisor] = true, true
	}
}
