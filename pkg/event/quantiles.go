package event

import (
	"math"
	"slices"
)

const (
	exactValues = 4096
	growth      = 1.02 // of one bucket over the one below it
	smallest    = 1e-6 // the first bucket's upper end
	bucketCount = 1600 // up to 50 million
)

// Quantiles describes positive values in bounded memory: up to 4,096 values exactly, more within one per cent.
// The zero Quantiles is empty.
type Quantiles struct {
	n        int
	sum      float64
	min, max float64
	exact    []float64
	sorted   bool
	buckets  []uint32 // nil while exact holds all
}

// Add takes a value; what is below zero or no number counts as zero.
func (q *Quantiles) Add(v float64) {
	if !(v > 0) || math.IsInf(v, 1) {
		v = 0
	}
	if q.n == 0 || v < q.min {
		q.min = v
	}
	q.max = max(q.max, v)
	q.n++
	q.sum += v
	if q.buckets != nil {
		q.buckets[bucket(v)]++
		return
	}
	q.exact, q.sorted = append(q.exact, v), false
	if len(q.exact) > exactValues {
		q.buckets = make([]uint32, bucketCount)
		for _, v := range q.exact {
			q.buckets[bucket(v)]++
		}
		q.exact = nil
	}
}

func bucket(v float64) int {
	if v <= smallest {
		return 0
	}
	return min(int(math.Ceil(math.Log(v/smallest)/math.Log(growth))), bucketCount-1)
}

// N is the number of values.
func (q *Quantiles) N() int { return q.n }

// Mean is the mean of all values, 0 without any.
func (q *Quantiles) Mean() float64 {
	if q.n == 0 {
		return 0
	}
	return q.sum / float64(q.n)
}

// Percentile is the smallest value that p per cent of the values do not exceed (nearest rank): 0 is the minimum, 100
// the maximum. Without values it is 0.
func (q *Quantiles) Percentile(p float64) float64 {
	rank := int(math.Ceil(min(max(p, 0), 100) / 100 * float64(q.n)))
	switch {
	case q.n == 0:
		return 0
	case rank <= 1:
		return q.min
	case rank >= q.n:
		return q.max
	case q.buckets == nil:
		if !q.sorted {
			slices.Sort(q.exact)
			q.sorted = true
		}
		return q.exact[rank-1]
	}
	for i, n := range q.buckets {
		if rank -= int(n); rank <= 0 {
			middle := smallest * math.Pow(growth, float64(i)-0.5)
			return min(max(middle, q.min), q.max)
		}
	}
	return q.max
}
