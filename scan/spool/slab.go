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

// large keeps freed large slabs for reuse, so that they need not be cleared and
// collected over and over.
//
//nolint:gochecknoglobals // a pool is shared by nature
var large = sync.Pool{New: func() any { return new([largeSlab]byte) }}

func newSlab(size int) []byte {
	if size == largeSlab {
		return large.Get().(*[largeSlab]byte)[:0] //nolint:forcetypeassert // the pool holds nothing else
	}
	return make([]byte, 0, size)
}

func freeSlab(s []byte) {
	if cap(s) == largeSlab {
		large.Put((*[largeSlab]byte)(s[:largeSlab]))
	}
}
