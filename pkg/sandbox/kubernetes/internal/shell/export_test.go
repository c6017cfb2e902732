package shell

import "time"

// Hurry sets other times for how long a Run may take, and for how long a request without an answer is repeated.
func (s *Shell) Hurry(limit, patience time.Duration) { s.limit, s.patience = limit, patience }
