package scantest

import (
	"math/rand/v2"
	"slices"
)

// MassRuns is how many replies a mass test of one engine's parser judges: over the
// four engines that have one, more than a million.
const MassRuns = 260_000

// Mutations returns a source of spoilt replies, made from good and bad ones: cut,
// with bytes changed, lost, doubled or taken from another. The same seed gives the
// same replies.
func Mutations(seed uint64, corpus ...[]byte) func() []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func() []byte { return corpus[r.IntN(len(corpus))] }
	odd := [][]byte{{0}, {'\n'}, []byte("\r\n"), {' '}, {0xff}, []byte("OK"), []byte("true"), []byte("204"), []byte("0\r\n\r\n"), []byte("null")}
	return func() []byte {
		b := slices.Clone(pick())
		for range 1 + r.IntN(3) {
			b = spoil(r, b, pick(), odd)
		}
		return b
	}
}

func spoil(r *rand.Rand, b, other []byte, odd [][]byte) []byte {
	at, end := 0, 0
	if len(b) > 0 {
		at = r.IntN(len(b))
		end = min(len(b), at+1+r.IntN(8))
	}
	switch r.IntN(8) {
	case 0:
		return b[:at]
	case 1:
		return slices.Delete(b, at, end)
	case 2:
		return slices.Insert(b, at, slices.Clone(b[at:end])...)
	case 3:
		return slices.Insert(b, at, odd[r.IntN(len(odd))]...)
	case 4:
		return append(b, other...)
	case 5:
		return append(b[:at:at], other[min(len(other), at):]...)
	case 6:
		if len(b) > 0 {
			b[at] ^= 1 << r.IntN(8)
		}
	case 7:
		if len(b) > 0 {
			b[at] = byte(r.IntN(256))
		}
	}
	return b
}
