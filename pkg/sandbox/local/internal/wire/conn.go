package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Conn carries gob values with files. Send may be called from many goroutines, Receive from one at a time.
type Conn struct {
	unix *net.UnixConn

	mu  sync.Mutex // guards what sends
	enc *gob.Encoder
	out bytes.Buffer

	dec *gob.Decoder
	in  bytes.Buffer
}

// A frame is a header of eight bytes, the length of the body and the number of files, with which the files come, and
// the body.
const headerSize = 8

// Most bytes and files of a frame.
const (
	maxBody  = 64 << 20
	maxFiles = 4
)

// ErrTooLong is behind the error of Send for a message that it did not send. The connection is as before.
var ErrTooLong = errors.New("the command, or the list of files, is too long")

// NewConn makes a connection of one end of a socket pair, which it owns then.
func NewConn(f *os.File) (*Conn, error) {
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("not a unix socket")
	}
	conn := &Conn{unix: u}
	conn.enc, conn.dec = gob.NewEncoder(&conn.out), gob.NewDecoder(&conn.in)
	return conn, nil
}

// Pair makes two connected sockets, close-on-exec.
func Pair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "sbxrun"), os.NewFile(uintptr(fds[1]), "spawner"), nil
}

// Send sends a value with copies of files; they stay the caller's.
func (c *Conn) Send(v any, files ...int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.Reset()
	c.out.Write(make([]byte, headerSize))
	if err := c.enc.Encode(v); err != nil {
		return err
	}
	b := c.out.Bytes()
	if len(b) > maxBody {
		return fmt.Errorf("%w: %d bytes", ErrTooLong, len(b))
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-headerSize))
	binary.LittleEndian.PutUint32(b[4:], uint32(len(files)))
	var oob []byte
	if len(files) > 0 {
		oob = unix.UnixRights(files...)
	}
	n, _, err := c.unix.WriteMsgUnix(b, oob, nil)
	if err == nil && n < len(b) {
		_, err = c.unix.Write(b[n:])
	}
	return err
}

// Receive fills v, which must be what the other end sent, and returns the files that came with it, close-on-exec. At the
// end of the connection the error is io.EOF.
func (c *Conn) Receive(v any) (files []int, err error) {
	var header [headerSize]byte
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn, _, _, err := c.unix.ReadMsgUnix(header[:], oob)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			CloseAll(files)
			files = nil
		}
	}()
	if files, err = rights(oob[:oobn]); err != nil {
		return files, err
	}
	if _, err := io.ReadFull(c.unix, header[n:]); err != nil {
		return files, err
	}
	size, count := binary.LittleEndian.Uint32(header[:]), binary.LittleEndian.Uint32(header[4:])
	if size > maxBody || int(count) != len(files) {
		return files, fmt.Errorf("a frame of %d bytes with %d files came with %d", size, count, len(files))
	}
	if _, err := io.CopyN(&c.in, c.unix, int64(size)); err != nil {
		return files, err
	}
	return files, c.dec.Decode(v)
}

func rights(oob []byte) (files []int, err error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return files, err
		}
		files = append(files, fds...)
	}
	return files, nil
}

// CloseAll closes files that Receive returned.
func CloseAll(files []int) {
	for _, fd := range files {
		unix.Close(fd)
	}
}

// Close ends the connection; a Receive that waits returns.
func (c *Conn) Close() error { return c.unix.Close() }
