package shell

import (
	"errors"
	"slices"
	"strings"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// errSpoilt says that the sandbox does not work any more as it did: what ran in it has removed or replaced a program that the
// protocol needs. That is no lack of the image, and no failure of the cluster's: the command that meets it died with the
// sandbox, and files are not to be had.
var errSpoilt = errors.New("what ran in the sandbox has spoilt it")

// work notes what the image lacks for files, which the answers for the first command say.
func (s *Shell) work(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lacks != nil {
		return
	}
	for _, l := range a.lines {
		if words := strings.Fields(l); len(words) > 0 && words[0] == "lacks" {
			s.lacks = words[1:]
			return
		}
	}
}

// worked says whether a command could be started.
func (s *Shell) worked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lacks != nil
}

// lacking is the error for a program that is not there: the image lacks it, or what ran has removed it.
func (s *Shell) lacking(program, need string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lacks == nil || slices.Contains(s.lacks, program) {
		return problem(sandbox.KindUnsupported, "the image has no program %q%s", program, need)
	}
	return problem(sandbox.KindInvalid, "%w: the program %q was there before", errSpoilt, program)
}

// spoil makes a sandbox that a command has spoilt useless for others.
func (s *Shell) spoil(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = err
	}
}
