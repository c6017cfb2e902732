package shell

import (
	"errors"
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	const limit = 800 * time.Millisecond
	late, lost := errors.New("late"), errors.New("lost")
	w := window{n: largestWindow}
	for i, c := range []struct {
		size, got int64
		took      time.Duration
		err       error
		want      int64
	}{
		{4 << 20, 4 << 20, 0, nil, 4 << 20},           // no more than this
		{4 << 20, 0, limit / 2, lost, 4 << 20},        // not for being slow
		{4 << 20, 0, limit, late, 512 << 10},          //
		{4 << 20, 0, limit, late, 512 << 10},          // one that was asked for at the same time
		{4 << 20, 4 << 20, 0, nil, 512 << 10},         // so was this
		{512 << 10, 512 << 10, limit, nil, 512 << 10}, // came, but not quickly
		{512 << 10, 100, 0, nil, 512 << 10},           // says nothing of large ones
		{512 << 10, 256 << 10, 0, nil, 1 << 20},       // one of two streams
		{1 << 20, 0, limit, late, 128 << 10},          //
		{128 << 10, 0, limit, late, 64 << 10},         //
		{64 << 10, 0, 2 * limit, late, 64 << 10},      // no less than this
	} {
		if w.learn(c.size, c.got, c.took, limit, c.err); w.size() != c.want {
			t.Errorf("%d: %d bytes, want %d", i, w.size(), c.want)
		}
	}
}
