package content

import (
	"errors"

	"github.com/portcullis-av/portcullis/scan"
)

// layers are the decoded bodies of one walk, given back together.
type layers struct{ bodies []scan.Body }

// Close closes every layer; closing twice is fine.
func (l *layers) Close() error {
	var errs []error
	for _, b := range l.bodies {
		errs = append(errs, b.Close())
	}
	l.bodies = nil
	return errors.Join(errs...)
}
