package content

import (
	"archive/tar"
	"bytes"
	"fmt"
)

// maxStray is how far the next header of a tar may be.
const maxStray = 1 << 20

// strayMembers looks for members of a tar that does not begin with a header. GNU's
// tar and that of npm step over blocks until one is a header, and go on. Nothing of
// it is refused but what they would put together: a disk image may hold tars too.
func (w *walk) strayMembers(n *node) error {
	block := w.u.pools.block()
	defer w.u.pools.giveBlock(block)
	blocks := (*block)[:len(*block)/tarBlock*tarBlock]
	found, last := 0, int64(0)
	for off := int64(tarBlock); off+tarBlock < n.obj.Size && off-last < maxStray; {
		p := blocks[:min(int64(len(blocks)), (n.obj.Size-off)/tarBlock*tarBlock)]
		if err := readAt(n.obj.Content, p, off); err != nil {
			return err
		}
		k := int64(0)
		for k < int64(len(p)) {
			header := p[k : k+tarBlock]
			k += tarBlock
			if !isTar(header) {
				continue
			}
			size, err := w.strayMember(n, header, off+k, found)
			if err != nil {
				return err
			}
			found++
			k += (size + tarBlock - 1) / tarBlock * tarBlock
			last = off + k
		}
		off += k
	}
	return nil
}

// strayMember reports the content of the member with this header, which begins at
// off, and returns the number of its bytes.
func (w *walk) strayMember(n *node, header []byte, off int64, i int) (int64, error) {
	size, _ := tarNumber(header[124:136])
	size = min(max(size, 0), n.obj.Size-off)
	switch header[156] {
	case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
		return 0, nil
	case tar.TypeXHeader, tar.TypeXGlobalHeader:
		p := make([]byte, min(size, blockSize))
		if err := readAt(n.obj.Content, p, off); err != nil {
			return 0, err
		}
		if bytes.Contains(p, []byte("size=")) || bytes.Contains(p, []byte("GNU.sparse.")) {
			w.tarAmbiguous(n, "a member behind other bytes whose size another header tells")
		}
		return size, nil
	case tar.TypeGNUSparse:
		w.tarAmbiguous(n, "a sparse member behind other bytes")
	}
	return size, w.window(n, piece{word: fmt.Sprintf("tar-stray[%d]", i), kind: byArchive}, off, off+size)
}
