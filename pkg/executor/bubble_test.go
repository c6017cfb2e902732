package executor_test

import (
	"testing"
	"testing/synctest"
)

// inBubble runs a test with a clock of its own, which stands still while anything runs and jumps when everything waits.
func inBubble(t *testing.T, f func(*testing.T)) { synctest.Test(t, f) }
