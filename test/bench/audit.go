package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sbxrun/sbxrun/internal/bench/table"
)

// budget is how many requests a sandbox may cost: its creation, its deletion and one more.
const budget = 3

// requests counts what the API server was asked for ten sandboxes that were claimed, used and released; the set-up of a run (the
// versions that are served, the Lease, the one watch, the tunnel) is done before and not counted.
func requests(ctx context.Context, s *sides) ([]table.Row, error) {
	if s.audit == "" {
		return nil, nil
	}
	const count = 10
	ours, err := s.counted(ctx, "sbxrun", count, func() error {
		sb, err := s.acquire(ctx, "requests")
		if err != nil {
			return err
		}
		return errors.Join(ask(ctx, sb, "hello"), sb.Release(ctx))
	})
	if err != nil {
		return nil, err
	}
	theirs, err := s.counted(ctx, "upstream", count, func() error {
		sb, err := s.theirs.CreateSandbox(ctx, s.pool, s.namespace)
		if err != nil {
			return err
		}
		return errors.Join(askTheirs(ctx, sb, "hello"), sb.Close(ctx))
	})
	if err != nil {
		return nil, fmt.Errorf("the other side: %w", err)
	}
	each := func(n int) string { return fmt.Sprintf("%.1f", float64(n)/count) }
	return []table.Row{{
		Name: "API requests a sandbox", Got: each(ours), Other: each(theirs), Ratio: fmt.Sprintf("%.2fx", float64(ours)/float64(theirs)),
		Budget: fmt.Sprint(budget), Over: ours > budget*count,
	}}, nil
}

// counted runs f so many times and returns how many requests of the user agent were logged meanwhile.
func (s *sides) counted(ctx context.Context, agent string, times int, f func() error) (int, error) {
	if err := f(); err != nil { // what a run does once is done
		return 0, err
	}
	log, err := os.Open(s.audit)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	if _, err := log.Seek(0, io.SeekEnd); err != nil {
		return 0, err
	}
	for range times {
		if err := s.full(ctx); err != nil {
			return 0, err
		}
		if err := f(); err != nil {
			return 0, err
		}
	}
	return count(log, agent)
}

// count reads events of the audit log and counts the requests of a user agent; each is logged when it was received, or
// answered, under one id.
func count(log io.Reader, agent string) (int, error) {
	type event struct {
		AuditID, UserAgent string
		ObjectRef          struct{ Resource string }
	}
	seen := map[string]bool{}
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return 0, fmt.Errorf("audit log: %w", err)
		}
		if strings.HasPrefix(e.UserAgent, agent) && e.ObjectRef.Resource != "leases" {
			seen[e.AuditID] = true
		}
	}
	return len(seen), lines.Err()
}
