package plan

import (
	"fmt"
	"math"
	"strconv"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Fit compares what a pool may take with the machine's memory, total bytes. Disk counts, since local sandboxes keep
// their files in memory. Sample has the limits of the sandboxes that one sample holds at a time, as the recipe says:
// those that it leaves to the defaults are zero and not counted.
//
// Limits are ceilings that few samples reach, so a pool that could take more than there is gives a warning; a sample
// that alone could is an error, since its limits promise what the machine cannot give.
func Fit(size int, sample []sandbox.Limits, total int64) (warning string, err error) {
	var one int64
	for _, l := range sample {
		for _, n := range []int64{l.Memory, l.Disk} {
			if one += n; one < 0 || one > total {
				return "", fmt.Errorf("the limits of one sample (memory and disk of its sandboxes together) are beyond the %s of memory of this machine: lower limits.memory or limits.disk", memoryText(total))
			}
		}
	}
	if size > 1 && one > total/int64(size) {
		return fmt.Sprintf("%d samples at once may take %s each (memory and disk), this machine has %s: lower -j or the limits if samples fail with oom",
			size, memoryText(one), memoryText(total)), nil
	}
	return "", nil
}

// memoryText is n bytes as people write quantities, such as 512Mi or 23.5Gi.
func memoryText(n int64) string {
	units := []string{"", "Ki", "Mi", "Gi", "Ti"}
	v, u := float64(n), 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) + units[u]
}
