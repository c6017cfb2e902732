package fake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

func cat(ctx context.Context, p *Process) int {
	return p.each(p.Args[1:], func(_ string, r io.Reader) error {
		_, err := io.Copy(p.Stdout, live{ctx, r})
		return err
	})
}

// live is a reader that ends with the process that reads.
type live struct {
	ctx context.Context
	r   io.Reader
}

func (l live) Read(b []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	return l.r.Read(b)
}

func head(ctx context.Context, p *Process) int {
	opts, args := p.options("nc")
	return p.each(args, func(_ string, r io.Reader) error {
		if c, ok := opts['c']; ok {
			n, err := size(c)
			if err != nil {
				return err
			}
			_, err = io.Copy(p.Stdout, io.LimitReader(live{ctx, r}, n))
			return err
		}
		lines, err := strconv.Atoi(opts['n'])
		if _, given := opts['n']; !given {
			lines, err = 10, nil
		}
		if err != nil {
			return err
		}
		buf := make([]byte, 1) // a byte at a time: what follows is the next reader's
		for lines > 0 {
			if _, err := (live{ctx, r}).Read(buf); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if _, err := p.Stdout.Write(buf); err != nil {
				return err
			}
			if buf[0] == '\n' {
				lines--
			}
		}
		return nil
	})
}

func wc(ctx context.Context, p *Process) int {
	opts, args := p.options("")
	return p.each(args, func(name string, r io.Reader) error {
		var lines, size int64
		buf := make([]byte, 64<<10)
		for {
			n, err := live{ctx, r}.Read(buf)
			size += int64(n)
			lines += int64(bytes.Count(buf[:n], []byte("\n")))
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return err
			}
		}
		n := size
		if _, ok := opts['l']; ok {
			n = lines
		}
		if name == "-" {
			name = ""
		}
		p.Printf("%s\n", strings.TrimSpace(fmt.Sprintf("%d %s", n, name)))
		return nil
	})
}

// tr knows `tr A B` for single bytes, which may be octal escapes, and `tr -d A`.
func tr(ctx context.Context, p *Process) int {
	opts, args := p.options("")
	_, remove := opts['d']
	if want := 2; len(args) != want && !remove || remove && len(args) != 1 {
		return p.fail(errors.New("want two bytes, or -d and one"))
	}
	var set [2]byte
	for i, a := range args {
		b, err := strconv.Unquote(`"` + a + `"`)
		if a == `\0` {
			b, err = "\x00", nil
		}
		if err != nil || len(b) != 1 {
			return p.fail(fmt.Errorf("%q is not one byte", a))
		}
		set[i] = b[0]
	}
	return p.each(nil, func(_ string, r io.Reader) error {
		buf := make([]byte, 64<<10)
		for {
			n, err := live{ctx, r}.Read(buf)
			out := buf[:n]
			if remove {
				out = bytes.ReplaceAll(out, set[:1], nil)
			} else {
				out = bytes.ReplaceAll(out, set[:1], set[1:])
			}
			if _, err := p.Stdout.Write(out); err != nil {
				return err
			}
			if errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
}

func seq(ctx context.Context, p *Process) int {
	first, last := 1, 0
	var err error
	switch args := p.Args[1:]; len(args) {
	case 2:
		first, err = strconv.Atoi(args[0])
		fallthrough
	case 1:
		var e error
		last, e = strconv.Atoi(args[len(args)-1])
		err = errors.Join(err, e)
	default:
		err = errors.New("want one number or two")
	}
	if err != nil {
		return p.fail(err)
	}
	for i := first; i <= last && ctx.Err() == nil; i++ {
		if _, err := fmt.Fprintln(p.Stdout, i); err != nil {
			return p.fail(err)
		}
	}
	return 0
}

func yes(ctx context.Context, p *Process) int {
	line := "y\n"
	if len(p.Args) > 1 {
		line = strings.Join(p.Args[1:], " ") + "\n"
	}
	block := bytes.Repeat([]byte(line), 1+8<<10/len(line))
	for ctx.Err() == nil {
		if _, err := p.Stdout.Write(block); err != nil {
			return 1
		}
	}
	return 1
}

func sha256sum(ctx context.Context, p *Process) int {
	return p.each(p.Args[1:], func(name string, r io.Reader) error {
		h := sha256.New()
		_, err := io.Copy(h, live{ctx, r})
		if err == nil {
			p.Printf("%x  %s\n", h.Sum(nil), name)
		}
		return err
	})
}
