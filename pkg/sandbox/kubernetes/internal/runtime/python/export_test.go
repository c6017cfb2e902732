package python

import "time"

// Hurry sets another time limit of a request.
func (t *Transport) Hurry(limit time.Duration) { t.limit = limit }
