package mask

import (
	"io"
	"slices"
)

// Stream masks a text that comes in parts; a secret may be cut between them. Its zero Mask replaces nothing.
type Stream struct {
	Mask *Mask
	held []byte // what may be the beginning of a secret
}

// Write hands to emit what is known to be no part of a secret that is still to come, masked. What emit gets is not to be
// kept.
func (s *Stream) Write(p []byte, emit func([]byte)) {
	if s.Mask == nil {
		emit(p)
		return
	}
	if len(s.held) > 0 {
		p = slices.Concat(s.held, p)
	}
	s.held = append([]byte(nil), s.Mask.replace(p, false, emit)...)
}

// Close hands over what was kept back: nothing more comes.
func (s *Stream) Close(emit func([]byte)) {
	if len(s.held) > 0 {
		held := s.held
		s.held = nil
		s.Mask.replace(held, true, emit)
	}
}

// Cut is Close where the text was cut: what may be the beginning of a secret most likely is.
func (s *Stream) Cut(emit func([]byte)) {
	if len(s.held) >= minPart {
		emit([]byte(Text))
		s.held = nil
	}
	s.Close(emit)
}

// Writer returns a writer that masks what it gives to w. Close writes what is kept back; it does not close w.
func (m *Mask) Writer(w io.Writer) io.WriteCloser { return &writer{w: w, stream: Stream{Mask: m}} }

type writer struct {
	w      io.Writer
	stream Stream
	err    error
}

func (w *writer) put(p []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(p)
	}
}

func (w *writer) Write(p []byte) (int, error) {
	w.stream.Write(p, w.put)
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

func (w *writer) Close() error {
	w.stream.Close(w.put)
	return w.err
}

// Reader returns r with every secret replaced.
func (m *Mask) Reader(r io.Reader) io.Reader {
	if m == nil {
		return r
	}
	return &reader{r: r, stream: Stream{Mask: m}}
}

// readBytes is how much a reader takes at once.
const readBytes = 32 << 10

type reader struct {
	r      io.Reader
	stream Stream
	buf    []byte
	ready  []byte // masked and not given yet
	rest   []byte // of ready
	err    error
}

func (r *reader) put(p []byte) { r.ready = append(r.ready, p...) }

func (r *reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if r.buf == nil {
			r.buf = make([]byte, readBytes)
		}
		var n int
		n, r.err = r.r.Read(r.buf)
		r.ready = r.ready[:0]
		r.stream.Write(r.buf[:n], r.put)
		if r.err != nil {
			r.stream.Close(r.put)
		}
		r.rest = r.ready
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
