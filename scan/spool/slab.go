package spool

import "sync"

// Slabs come in three sizes: a tiny body costs little, a long trickle few
// allocations, and a large body slabs that are used again and again.
const (
	smallSlab  = 4 << 10
	mediumSlab = 16 << 10
	largeSlab  = 64 << 10
)

// slabSizes chooses the slabs for need more bytes of a body that has size bytes.
func slabSizes(need int, size int64) (sizes []int, cost int64) {
	for need > 0 {
		next := largeSlab
		switch want := int64(need); {
		case max(want, size) <= smallSlab:
			next = smallSlab
		case max(want, size) <= mediumSlab:
			next = mediumSlab
		}
		sizes = append(sizes, next)
		cost += int64(next)
		size += int64(next)
		need -= next
	}
	return sizes, cost
}

// slabs keeps freed slabs for reuse, by size, so that they need not be cleared
// and collected over and over.
//
//nolint:gochecknoglobals // a pool is shared by nature
var slabs = map[int]*sync.Pool{
	smallSlab:  {New: func() any { return new([smallSlab]byte) }},
	mediumSlab: {New: func() any { return new([mediumSlab]byte) }},
	largeSlab:  {New: func() any { return new([largeSlab]byte) }},
}

// newSlab returns an empty slab of one of the three sizes.
func newSlab(size int) []byte {
	switch s := slabs[size].Get().(type) {
	case *[smallSlab]byte:
		return s[:0]
	case *[mediumSlab]byte:
		return s[:0]
	case *[largeSlab]byte:
		return s[:0]
	}
	return make([]byte, 0, size) // never: the pools hold nothing else
}

func freeSlab(s []byte) {
	switch cap(s) {
	case smallSlab:
		slabs[smallSlab].Put((*[smallSlab]byte)(s[:smallSlab]))
	case mediumSlab:
		slabs[mediumSlab].Put((*[mediumSlab]byte)(s[:mediumSlab]))
	case largeSlab:
		slabs[largeSlab].Put((*[largeSlab]byte)(s[:largeSlab]))
	}
}
