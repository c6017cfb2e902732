package plan

import (
	"context"
	"fmt"
	"slices"
)

// hashes are those of all ids, 8 bytes each. They are kept in blocks: growing one slice would need the old and the new
// at the same time.
type hashes struct {
	blocks [][]uint64
	n      int
}

const block = 1 << 14

func (h *hashes) add(hash uint64) {
	if h.n%block == 0 {
		size := block
		if h.n == 0 {
			size = 64 // most recipes have few cases; append grows the first block
		}
		h.blocks = append(h.blocks, make([]uint64, 0, size))
	}
	last := len(h.blocks) - 1
	h.blocks[last] = append(h.blocks[last], hash)
	h.n++
}

// twice returns the hashes that are there more than once. h is empty afterwards.
func (h *hashes) twice() map[uint64]bool {
	all := make([]uint64, 0, h.n)
	for i, b := range h.blocks {
		all = append(all, b...)
		h.blocks[i] = nil
	}
	h.blocks = nil
	slices.Sort(all)
	out := map[uint64]bool{}
	for i := 1; i < len(all); i++ {
		if all[i] == all[i-1] {
			out[all[i]] = true
		}
	}
	return out
}

// duplicates reports the first id that two rows have. Where hashes are equal, the rows are read again to compare the
// ids themselves and to say where they are.
func (p *Plan) duplicates(ctx context.Context, ids *hashes) error {
	twice := ids.twice()
	if len(twice) == 0 {
		return nil
	}
	type row struct {
		number int
		at     place
	}
	seen := map[string]row{}
	return p.each(ctx, true, func(c Case, at place) error {
		if !twice[hashID(c.ID)] {
			return nil
		}
		first, ok := seen[c.ID]
		if !ok {
			seen[c.ID] = row{c.Number, at}
			return nil
		}
		other := ""
		if first.at != at && first.at.pos.Line > 0 {
			other = fmt.Sprintf(" (the other is at %s)", first.at)
		}
		return at.errorf("rows %d and %d have the same id %q%s: ids must differ, cases.id can make them", first.number, c.Number, c.ID, other)
	})
}
