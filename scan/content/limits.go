package content

import "github.com/portcullis-av/portcullis/scan"

// The limits that hold where a policy leaves one at zero.
const (
	DefaultMaxObjects       = 10000
	DefaultMaxDepth         = 16
	DefaultMaxCodings       = 4
	DefaultMaxExpandedBytes = 256 << 20
	DefaultMaxRatio         = 200
)

// Limits that no policy changes: beyond them receivers are known to differ.
const (
	hardMaxCodings = 7
	ratioFrom      = 8 << 20 // bytes of output before the ratio is judged

	maxParts      = 1000 // multipart parts over all levels of one body
	maxMultiparts = 3    // multipart bodies inside each other
	// Mail forwards mail, each with up to three multipart bodies.
	maxMailMultiparts = 9
	maxArchives       = 8 // archives inside each other
	// maxReadings is how many times all bytes may be read as windows: once for
	// each layer around an object, and several times for lenient readings.
	maxReadings    = 64
	maxPartHeader  = 8 << 10
	maxHeaderLines = 16
	maxName        = 1 << 10 // bytes kept of a sender's file name
)

// DefaultLimits returns the limits that stand in for zero values.
func DefaultLimits() scan.ContentLimits {
	return scan.ContentLimits{
		MaxObjects:       DefaultMaxObjects,
		MaxDepth:         DefaultMaxDepth,
		MaxCodings:       DefaultMaxCodings,
		MaxExpandedBytes: DefaultMaxExpandedBytes,
		MaxRatio:         DefaultMaxRatio,
	}
}

// effective fills the zero values of l, and holds the codings under the hard cap.
func effective(l scan.ContentLimits) scan.ContentLimits {
	d := DefaultLimits()
	if l.MaxObjects <= 0 {
		l.MaxObjects = d.MaxObjects
	}
	if l.MaxDepth <= 0 {
		l.MaxDepth = d.MaxDepth
	}
	if l.MaxCodings <= 0 {
		l.MaxCodings = d.MaxCodings
	}
	l.MaxCodings = min(l.MaxCodings, hardMaxCodings)
	if l.MaxExpandedBytes <= 0 {
		l.MaxExpandedBytes = d.MaxExpandedBytes
	}
	if l.MaxRatio <= 0 {
		l.MaxRatio = d.MaxRatio
	}
	if l.Worse == nil {
		l.Worse = scan.Worst
	}
	return l
}
