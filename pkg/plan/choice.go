package plan

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"regexp"
)

// choice is which cases of the recipe are run.
type choice struct {
	pattern      string
	re           *regexp.Regexp // nil: all
	index, count int            // shard; a count of 0 is no sharding
}

func newChoice(opts Options) (choice, error) {
	c := choice{pattern: opts.Case, index: opts.ShardIndex, count: opts.ShardCount}
	if opts.Case != "" {
		var err error
		if c.re, err = regexp.Compile(opts.Case); err != nil {
			return c, &Error{Message: fmt.Sprintf("--case: %s", err), Err: err}
		}
	}
	if c.count < 0 || c.count > 0 && (c.index < 1 || c.index > c.count) {
		return c, &Error{Message: fmt.Sprintf("--shard %d/%d: the shards of %d are 1 to %d", c.index, c.count, max(c.count, 1), max(c.count, 1))}
	}
	return c, nil
}

func (c *choice) matches(id string) bool { return c.re == nil || c.re.MatchString(id) }

// inShard says whether a case belongs to the shard. Which one it belongs to depends on its id and the count alone.
func (c *choice) inShard(hash uint64) bool {
	return c.count == 0 || hash%uint64(c.count) == uint64(c.index-1)
}

// hashID is the first eight bytes of the SHA-256 of an id, as a big-endian number: the same in every version.
func hashID(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint64(sum[:8])
}
