package report

import (
	"hash/maphash"
	"slices"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// rows remembers samples by eight bytes each, sixteen while they are compared.
type rows struct {
	seed   maphash.Seed
	blocks [][]uint64
}

const rowsInBlock = 1 << 14

func (r *rows) hash(e event.Event) uint64 {
	if r.seed == (maphash.Seed{}) {
		r.seed = maphash.MakeSeed()
	}
	return maphash.Comparable(r.seed, struct {
		recipe, id string
		sample     int
	}{e.Recipe, e.Case, e.Sample})
}

func (r *rows) add(e event.Event) {
	if n := len(r.blocks); n == 0 || len(r.blocks[n-1]) == rowsInBlock {
		r.blocks = append(r.blocks, make([]uint64, 0, rowsInBlock))
	}
	last := &r.blocks[len(r.blocks)-1]
	*last = append(*last, r.hash(e))
}

func (r *rows) twice() map[uint64]bool {
	all := slices.Concat(r.blocks...)
	r.blocks = nil
	slices.Sort(all)
	found := map[uint64]bool{}
	for i := 1; i < len(all); i++ {
		if all[i] == all[i-1] {
			found[all[i]] = true
		}
	}
	return found
}
