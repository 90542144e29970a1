package wrap

import (
	"sort"
)

// bits writes the most significant bit first.
type bits struct {
	out []byte
	acc uint64
	n   uint
}

func (b *bits) put(v uint64, count uint) {
	for count > 0 {
		count--
		b.acc = b.acc<<1 | v>>count&1
		if b.n++; b.n == 8 {
			b.out, b.acc, b.n = append(b.out, byte(b.acc)), 0, 0
		}
	}
}

// bzip2 compresses p of less than 900 kB in one block, with codes of nearly
// one length: it is valid, not small. The standard library only reads the format.
func bzip2(p []byte) []byte {
	var b bits
	b.out = []byte("BZh9")
	crc := bzip2Sum(p)
	if len(p) > 0 {
		b.block(p, crc)
	}
	b.put(0x177245385090, 48)
	if len(p) == 0 {
		crc = 0
	}
	b.put(uint64(crc), 32)
	for b.n != 0 {
		b.put(0, 1)
	}
	return b.out
}

func bzip2Sum(p []byte) uint32 {
	crc := uint32(0xffffffff)
	for _, c := range p {
		crc ^= uint32(c) << 24
		for range 8 {
			if crc&0x80000000 != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	return ^crc
}

// runs is the first step: four equal bytes are followed by the count of more.
func runs(p []byte) []byte {
	var out []byte
	for len(p) > 0 {
		n := 1
		for n < len(p) && n < 259 && p[n] == p[0] {
			n++
		}
		for range min(n, 4) {
			out = append(out, p[0])
		}
		if n >= 4 {
			out = append(out, byte(n-4))
		}
		p = p[n:]
	}
	return out
}

// burrowsWheeler returns the last column of the sorted rotations, and the row of p.
func burrowsWheeler(p []byte) (last []byte, origin int) {
	rows := make([]int, len(p))
	for i := range rows {
		rows[i] = i
	}
	twice := append(append([]byte(nil), p...), p...)
	sort.SliceStable(rows, func(x, y int) bool {
		return string(twice[rows[x]:rows[x]+len(p)]) < string(twice[rows[y]:rows[y]+len(p)])
	})
	for i, r := range rows {
		if r == 0 {
			origin = i
		}
		last = append(last, twice[r+len(p)-1])
	}
	return last, origin
}

func (b *bits) block(p []byte, crc uint32) {
	last, origin := burrowsWheeler(runs(p))
	b.put(0x314159265359, 48)
	b.put(uint64(crc), 32)
	b.put(0, 1)
	b.put(uint64(origin), 24)
	var used [256]bool
	for _, c := range last {
		used[c] = true
	}
	var front []byte
	var groups, maps [16]uint64
	for c := range 256 {
		if used[c] {
			front = append(front, byte(c))
			groups[c/16] = 1
			maps[c/16] |= 1 << (15 - c%16)
		}
	}
	for _, g := range groups {
		b.put(g, 1)
	}
	for i, m := range maps {
		if groups[i] == 1 {
			b.put(m, 16)
		}
	}
	b.symbols(moveToFront(last, front), len(front)+2)
}

// moveToFront is the third step; zeros are written as runs in base 2.
func moveToFront(last, front []byte) []int {
	var out []int
	zeros := 0
	flush := func() {
		for n := zeros; n > 0; n = (n - 1) / 2 {
			out = append(out, (n-1)%2)
		}
		zeros = 0
	}
	for _, c := range last {
		k := 0
		for front[k] != c {
			k++
		}
		if k == 0 {
			zeros++
			continue
		}
		flush()
		copy(front[1:k+1], front[:k])
		front[0] = c
		out = append(out, k+1)
	}
	flush()
	return out
}

func (b *bits) symbols(all []int, alphabet int) {
	all = append(all, alphabet-1) // end of block
	selectors := (len(all) + 49) / 50
	b.put(2, 3)
	b.put(uint64(selectors), 15)
	for range selectors {
		b.put(0, 1)
	}
	// A complete code of two lengths: the first few symbols are a bit shorter.
	length := uint(1)
	for 1<<length < alphabet {
		length++
	}
	short := 1<<length - alphabet
	for range 2 {
		b.put(uint64(length-1), 5)
		for i := range alphabet {
			if i == short {
				b.put(0b10, 2)
			}
			b.put(0, 1)
		}
	}
	for _, s := range all {
		if s < short {
			b.put(uint64(s), length-1)
		} else {
			b.put(uint64(s+short), length)
		}
	}
}
