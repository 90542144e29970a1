package scantest

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"

	"github.com/portcullis-av/portcullis/scan"
)

// EICAR returns a fresh copy of the 68 bytes of the EICAR test file. They are
// joined from two halves here so that no source file trips a host scanner.
func EICAR() []byte {
	return []byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD` + `-ANTIVIRUS-TEST-FILE!$H+H*`)
}

// Text returns n bytes of harmless text, lower-case letters and line ends, the
// same for the same n and seed.
func Text(n int, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	text := make([]byte, n)
	var random uint64
	for i := range text {
		if i%8 == 0 {
			random = rng.Uint64()
		}
		text[i] = 'a' + byte(random%26)
		random >>= 8
		if i%80 == 79 {
			text[i] = '\n'
		}
	}
	return text
}

// Object returns content as a complete object at path "body", with its size,
// its digest and no labels. The content is not copied.
func Object(content []byte) scan.Object {
	return scan.Object{
		Path:    "body",
		Size:    int64(len(content)),
		SHA256:  sha256.Sum256(content),
		Content: bytes.NewReader(content),
	}
}
