package clamd

import (
	"archive/zip"
	"bytes"
	"hash/crc32"
	"io"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

// maxNesting is what MaxRecursion can be set to at most (libclamav 1.4.6).
const maxNesting = 100

// eicar is the EICAR test file, joined here so that neither source nor binary is
// taken for it.
func eicar() []byte {
	return []byte(strings.Join([]string{`X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD`, `ANTIVIRUS-TEST-FILE!$H+H*`}, "-"))
}

// nestedZip is harmless text in more zips than clamd can be told to open.
func nestedZip() scan.Object {
	inner := []byte("Portcullis asks whether this is noticed.\n")
	for range maxNesting + 1 {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, err := z.Create("inner.zip")
		must(err)
		_, err = w.Write(inner)
		must(err)
		must(z.Close())
		inner = b.Bytes()
	}
	return probe(bytes.NewReader(inner))
}

// encryptedZip is a zip whose one member says that it needs a password.
func encryptedZip() scan.Object {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	const header = 12 // of encrypted data, before the data (APPNOTE 6.1)
	cipher := bytes.Repeat([]byte{0xa5}, 64)
	stored(z, &zip.FileHeader{
		Name: "secret.txt", Flags: 1, CRC32: 0x12345678,
		CompressedSize64: uint64(len(cipher)), UncompressedSize64: uint64(len(cipher) - header),
	}, cipher)
	must(z.Close())
	return probe(bytes.NewReader(b.Bytes()))
}

// infectedZip is a zip of exactly size bytes, or of a few hundred if that is
// more, with two members: the EICAR test file and zeros. Neither is compressed,
// so that it takes no more memory than its headers.
func infectedZip(size int64, first bool) scan.Object {
	build := func(zeros int64) *sparse {
		s := &sparse{}
		z := zip.NewWriter(s)
		if first {
			storeEICAR(z)
		}
		storeZeros(z, zeros)
		if !first {
			storeEICAR(z)
		}
		must(z.Close())
		return s
	}
	return probe(build(max(0, size-build(0).Size())))
}

func storeEICAR(z *zip.Writer) {
	content := eicar()
	stored(z, &zip.FileHeader{
		Name: "eicar.com", CRC32: crc32.ChecksumIEEE(content),
		CompressedSize64: uint64(len(content)), UncompressedSize64: uint64(len(content)),
	}, content)
}

func storeZeros(z *zip.Writer, n int64) {
	var block [64 << 10]byte
	sum := uint32(0)
	for left := n; left > 0; left -= min(left, int64(len(block))) {
		sum = crc32.Update(sum, crc32.IEEETable, block[:min(left, int64(len(block)))])
	}
	//nolint:gosec // n is never negative
	h := &zip.FileHeader{Name: "zeros.bin", CRC32: sum, CompressedSize64: uint64(n), UncompressedSize64: uint64(n)}
	w, err := z.CreateRaw(h)
	must(err)
	for left := n; left > 0; left -= min(left, int64(len(block))) {
		_, err := w.Write(block[:min(left, int64(len(block)))])
		must(err)
	}
}

// stored writes a member as it is.
func stored(z *zip.Writer, h *zip.FileHeader, content []byte) {
	w, err := z.CreateRaw(h)
	must(err)
	_, err = w.Write(content)
	must(err)
}

// must is for writing archives of ours into memory, which cannot fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// sized is content that knows its size.
type sized interface {
	io.ReaderAt
	Size() int64
}

// probe is an object of the self test. Its digest is left out: nobody remembers
// what comes of it.
func probe(content sized) scan.Object {
	return scan.Object{Path: "canary", Size: content.Size(), Content: content}
}

// sparse keeps what is written to it, long runs of zeros as their length only.
type sparse struct {
	pieces []piece
	size   int64
}

type piece struct {
	at   int64
	data []byte
}

// longRun is what is worth leaving out.
const longRun = 4 << 10

// Write implements [io.Writer].
func (s *sparse) Write(p []byte) (int, error) {
	if len(p) < longRun || bytes.Count(p, []byte{0}) < len(p) {
		s.pieces = append(s.pieces, piece{at: s.size, data: bytes.Clone(p)})
	}
	s.size += int64(len(p))
	return len(p), nil
}

// Size is the number of bytes written.
func (s *sparse) Size() int64 { return s.size }

// ReadAt implements [io.ReaderAt].
func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	n := int(max(0, min(int64(len(p)), s.size-off)))
	clear(p[:n])
	for _, piece := range s.pieces {
		from := max(piece.at, off)
		to := min(piece.at+int64(len(piece.data)), off+int64(n))
		if from < to {
			copy(p[from-off:to-off], piece.data[from-piece.at:])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
