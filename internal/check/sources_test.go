package check

import (
	"io"
	"testing/iotest"
)

// zeros is a text of that many zero bytes, that takes no memory.
type zeros int64

func (z zeros) Size() int64 { return int64(z) }
func (z zeros) Open() (io.ReadCloser, error) {
	return generated(int64(z), func(int64) byte { return 0 }), nil
}

// textLines is a text of that many bytes in lines, with one byte changed.
type textLines struct{ size, changed int64 }

func (l textLines) Size() int64 { return l.size }

func (l textLines) Open() (io.ReadCloser, error) {
	return generated(l.size, func(i int64) byte {
		if i == l.changed {
			return 'X'
		}
		return "0123456789abcde\n"[i%16]
	}), nil
}

func generated(size int64, at func(int64) byte) io.ReadCloser {
	return io.NopCloser(&generator{size: size, at: at})
}

type generator struct {
	size, next int64
	at         func(int64) byte
}

func (g *generator) Read(p []byte) (int, error) {
	n := int(min(int64(len(p)), g.size-g.next))
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	for i := range n {
		p[i] = g.at(g.next + int64(i))
	}
	g.next += int64(n)
	return n, nil
}

// broken is a text that cannot be read.
type broken struct{ err error }

func (b broken) Size() int64                  { return 10 }
func (b broken) Open() (io.ReadCloser, error) { return io.NopCloser(b), nil }
func (b broken) Read([]byte) (int, error)     { return 0, b.err }

// slow is a text that comes a byte at a time and cannot be sought in.
type slow struct{ Source }

func (s slow) Open() (io.ReadCloser, error) {
	r, err := s.Source.Open()
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{iotest.OneByteReader(r), r}, nil
}
