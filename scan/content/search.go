package content

import (
	"bytes"
)

// hit is an occurrence of a needle with its surroundings.
type hit struct {
	pos int64
	// before is up to two bytes in front of the needle, after begins with it.
	before, after []byte
	// end says that after reaches the end of the object.
	end bool
}

// each calls visit for every occurrence of needle in n, overlapping ones
// included, front to back, with at least margin bytes from its first byte on
// where there are as many. It stops early when visit returns false. Blocks
// overlap, so that no occurrence is lost between two of them.
func (w *walk) each(n *node, needle []byte, margin int, visit func(hit) bool) error {
	block := w.u.pools.block()
	defer w.u.pools.giveBlock(block)
	const lead = 2
	margin = max(margin, len(needle))
	step := int64(blockSize - lead - margin)
	for base := int64(0); base < n.obj.Size; base += step {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		from, to := max(0, base-lead), min(n.obj.Size, base+step+int64(margin))
		p := (*block)[:to-from]
		if err := readAt(n.obj.Content, p, from); err != nil {
			return err
		}
		// Occurrences that begin at or after the next base belong to the next block.
		i := int(base - from)
		stop := min(len(p), i+int(step)+len(needle)-1)
		for {
			k := bytes.Index(p[i:stop], needle)
			if k < 0 {
				break
			}
			i += k
			h := hit{pos: from + int64(i), before: p[max(0, i-2):i], after: p[i:], end: to == n.obj.Size}
			if !visit(h) {
				return nil
			}
			i++
		}
	}
	return nil
}
