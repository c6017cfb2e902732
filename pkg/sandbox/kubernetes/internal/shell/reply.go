package shell

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// state is what an answer says of a command.
type state string

const (
	stateRun  state = "run"  // its supervisor runs
	stateNew  state = "new"  // the lock is taken, the supervisor is not up yet
	stateEnd  state = "end"  // it has ended
	stateNone state = "none" // nothing is known of it
	stateDead state = "dead" // its supervisor was killed
	stateOver state = "over" // it belongs to the time before a reset
	stateShut state = "shut" // it reads no more of its stdin
	stateNeed state = "need" // a program is missing: text names it
	stateFail state = "fail" // the request could not be carried out: text says why
	stateOK   state = "ok"
)

// answer is a reply, understood. Everything in it may be forged by what runs in the sandbox: see the package's documentation.
type answer struct {
	state state
	text  string // after the state
	boot  string // when the container's first process was started, in the kernel's words
	parts [3]part
	lines []string // others, such as "fed 3"
	size  int      // bytes of all parts
	asked int64    // bytes that were asked for: see window
}

// part is some output of a stream.
type part struct {
	start int64 // the place of its first byte in the stream, or a place before the stream
	data  []byte
}

const block = 4096

var errGarbled = errors.New("the answer is garbled")

// parse reads an answer to the request of that number. The data of its parts is decoded in place.
func parse(stdout []byte, number string) (a answer, err error) {
	garbled := func(why string) (answer, error) {
		return answer{}, fmt.Errorf("%w: %s: %q", errGarbled, why, brief(stdout))
	}
	if len(stdout) > MaxReply {
		return garbled("it is too long")
	}
	line, rest, _ := bytes.Cut(stdout, []byte("\n"))
	head := strings.SplitN(string(line[:min(len(line), 1000)]), " ", 5)
	if len(head) < 4 || head[0] != "sbx1" {
		return garbled("it has no header")
	}
	if head[1] != number {
		return garbled("it answers another request")
	}
	a.boot, a.state = head[2], state(head[3])
	if len(head) == 5 {
		a.text = head[4]
	}
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		if string(line) == "." {
			return a, nil
		}
		name, arg, spaced := strings.Cut(string(line[:min(len(line), 100)]), " ")
		stream := strings.IndexByte("12", (name + " ")[0]) + 1
		if !spaced || stream == 0 || name[1:] != "" && name[1:] != "=" {
			if len(a.lines) == 1000 {
				return garbled("it has too many lines")
			}
			a.lines = append(a.lines, string(line[:min(len(line), 4096)]))
			continue
		}
		p := &a.parts[stream]
		if name[1:] == "=" {
			n, err := strconv.Atoi(arg)
			if err != nil || n < 0 || n >= len(rest) {
				return garbled("it has less data than it says")
			}
			p.data, rest = rest[:n], rest[n+1:]
			a.size += n
			continue
		}
		if p.start, err = place(arg); err != nil {
			return garbled(err.Error())
		}
		if p.data, rest, err = decode(rest); err != nil {
			return garbled(err.Error())
		}
		a.size += len(a.parts[stream].data)
	}
	return garbled("it has no end")
}

// place reads "BLOCK", or "BLOCK SKIP" of a file whose first bytes belong to no stream.
func place(text string) (int64, error) {
	text, skipped, _ := strings.Cut(text, " ")
	b, err := strconv.ParseInt(text, 10, 64)
	if err != nil || b < 0 || b > 1<<50 {
		return 0, errors.New("it has no place for its data")
	}
	skip := int64(0)
	if skipped != "" {
		if skip, err = strconv.ParseInt(skipped, 10, 64); err != nil || skip < 0 || skip > block {
			return 0, errors.New("it has no place for its data")
		}
	}
	return b*block - skip, nil
}

// decode decodes lines of base64 in place, up to a line that is none: one that is short and holds a space or is ".".
func decode(text []byte) (data, rest []byte, err error) {
	end := 0
	for end < len(text) {
		line := text[end:]
		if n := bytes.IndexByte(line, '\n'); n >= 0 {
			line = line[:n+1]
		}
		if line[0] == '.' || bytes.IndexByte(line[:min(len(line), 8)], ' ') >= 0 {
			break
		}
		end += len(line)
	}
	n, err := base64.StdEncoding.Decode(text[:end], text[:end])
	return text[:n], text[end:], err
}

// cut is the beginning of text that may be shown: the sandbox's words, without what commands a terminal.
func cut(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), 300)], "?")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// brief is the beginning of something that is too long for a message.
func brief(b []byte) string {
	return string(b[:min(len(b), 200)])
}

// ended is how a command ended, by the record of its supervisor.
type ended struct {
	exit, signal int
	why          string // timeout, output, disk, kill or "-"
	stopped      bool
	hundredths   int64 // of a second that it ran
	oom          bool
}

// parseEnd reads "STATUS SIGNAL WHY HUNDREDTHS OOM SIZE1 SIZE2 .". The sizes are for the sandbox itself.
func parseEnd(text string) (ended, error) {
	f := strings.Fields(text)
	bad := fmt.Errorf("%w: the record of its end is %q", errGarbled, text)
	if len(f) != 8 || f[7] != "." {
		return ended{}, bad
	}
	var n [4]int64
	for i, at := range []int{0, 1, 3, 4} {
		var err error
		if n[i], err = strconv.ParseInt(f[at], 10, 64); err != nil {
			return ended{}, bad
		}
	}
	if n[0] < 0 || n[0] > 255 || n[1] < 0 || n[1] > 127 || n[1] > 0 && n[0] != 128+n[1] {
		return ended{}, bad
	}
	why, stopped := strings.CutSuffix(f[2], "+stop")
	return ended{exit: int(n[0]), signal: int(n[1]), why: why, stopped: stopped, hundredths: min(max(n[2], 0), 1<<32), oom: n[3] > 0}, nil
}
