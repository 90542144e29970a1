package cache

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"

	"github.com/portcullis-av/portcullis/scan"
)

// The form of an entry outside this process:
//
//	'P' 'V' 1     what it is, and the version of this form
//	'C' or 'I'    CLEAN or INFECTED
//	n             number of names, 0 for CLEAN
//	n times: length, name
//	32 bytes      HMAC-SHA256 over the key's digest and all of the above
//
// Without a key file the HMAC's key is empty: it then finds accidents only.
const (
	formHeader  = "PV\x01"
	formClean   = 'C'
	formInfect  = 'I'
	headerBytes = len(formHeader) + 2
	// maxValue is the longest an entry can be.
	maxValue = headerBytes + maxThreats*(1+128) + sha256.Size
)

// sealer writes and reads entries under one HMAC key.
type sealer struct{ secret []byte }

func (s sealer) seal(k [sha256.Size]byte, e entry) []byte {
	b := make([]byte, 0, headerBytes+sha256.Size)
	b = append(b, formHeader...)
	if e.infected {
		b = append(b, formInfect)
	} else {
		b = append(b, formClean)
	}
	b = append(b, byte(len(e.threats)))
	for _, name := range e.threats {
		b = append(b, byte(len(name)))
		b = append(b, name...)
	}
	return append(b, s.mac(k, b)...)
}

func (s sealer) mac(k [sha256.Size]byte, text []byte) []byte {
	h := hmac.New(sha256.New, s.secret)
	_, _ = h.Write(k[:])
	_, _ = h.Write(text)
	return h.Sum(nil)
}

var errOdd = errors.New("not an entry of ours")

// open reads what seal wrote for that key, and nothing else.
func (s sealer) open(k [sha256.Size]byte, b []byte) (entry, error) {
	if len(b) < headerBytes+sha256.Size || len(b) > maxValue {
		return entry{}, errOdd
	}
	text, mac := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if !hmac.Equal(mac, s.mac(k, text)) || string(text[:len(formHeader)]) != formHeader {
		return entry{}, errOdd
	}
	outcome, count, rest := text[headerBytes-2], int(text[headerBytes-1]), text[headerBytes:]
	e := entry{infected: outcome == formInfect}
	if !e.infected && (outcome != formClean || count != 0) || count > maxThreats {
		return entry{}, errOdd
	}
	for range count {
		if len(rest) == 0 {
			return entry{}, errOdd
		}
		end := 1 + int(rest[0])
		if len(rest) < end {
			return entry{}, errOdd
		}
		name := string(rest[1:end])
		if scan.SafeThreat(name) != name {
			return entry{}, errOdd
		}
		e.threats, rest = append(e.threats, name), rest[end:]
	}
	if len(rest) != 0 {
		return entry{}, errOdd
	}
	return e, nil
}
