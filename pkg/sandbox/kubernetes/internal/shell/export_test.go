package shell

import "time"

// ResetMark is what a reset that is at work carries.
const ResetMark = resetMark

// Hurry sets other times for how long a Run may take, and for how long a request without an answer is repeated.
func (s *Shell) Hurry(limit, patience time.Duration) { s.limit, s.patience = limit, patience }

// Leisure makes the next command one of which an answer is expected late: what is short stays so on a busy machine.
func (s *Shell) Leisure() { s.quick.way = quickMost }
