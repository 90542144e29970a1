package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

// maxVersion is how long a version may be that is shown as it is.
const maxVersion = 256

// Signatures asks the far side for those of all its engines: which of them the
// policy uses it does not tell. The version is all of theirs together, and Built
// the oldest date known. Errors are those of [Engine.Scan].
func (e *Engine) Signatures(ctx context.Context) (scan.Signatures, error) {
	hopped, err := hop(ctx)
	if err != nil {
		return scan.Signatures{}, err
	}
	list, err := e.client.ListEngines(hopped, &scanv1.ListEnginesRequest{})
	if err != nil {
		return scan.Signatures{}, failure(ctx, err)
	}
	var versions []string
	var built time.Time
	for _, far := range list.GetEngines() {
		if far.GetSignatures() != "" {
			versions = append(versions, far.GetName()+"="+far.GetSignatures())
		}
		if at := far.GetSignaturesBuilt(); at != nil && (built.IsZero() || at.AsTime().Before(built)) {
			built = at.AsTime()
		}
	}
	version := strings.Join(versions, " ")
	if len(version) > maxVersion {
		sum := sha256.Sum256([]byte(version))
		version = hex.EncodeToString(sum[:])
	}
	return scan.Signatures{Version: version, Built: built}, nil
}
