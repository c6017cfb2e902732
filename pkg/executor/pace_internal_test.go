package executor

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	tests := []struct {
		name          string
		acquire, busy time.Duration
		size, want    int
	}{
		{"acquiring is quick", 50 * time.Millisecond, time.Second, 4, 0},
		{"no sample has ended", 5 * time.Second, 0, 4, 4},
		{"acquiring takes longer than the sample", 5 * time.Second, time.Second, 4, 4},
		{"half as long", 5 * time.Second, 10 * time.Second, 4, 2},
		{"one is enough", time.Second, time.Minute, 4, 1},
		{"long samples, one at a time", 5 * time.Second, 6 * time.Minute, 1, 0},
		{"long samples, many at a time", 5 * time.Second, 6 * time.Minute, 10, 1},
	}
	for _, tt := range tests {
		p := pace{slow: make(chan struct{})}
		p.acquired(tt.acquire)
		if tt.busy > 0 {
			p.worked(tt.busy)
		}
		if got := p.ahead(tt.size); got != tt.want {
			t.Errorf("%s: %d ahead, want %d", tt.name, got, tt.want)
		}
		select {
		case <-p.slow:
			if tt.acquire < slowAcquire {
				t.Errorf("%s: told to be slow", tt.name)
			}
		default:
			if tt.acquire >= slowAcquire {
				t.Errorf("%s: not told to be slow", tt.name)
			}
		}
	}
}
