package scan

// Cause names why an outcome was reached. The list is closed: the same word
// stands in the answer, the x-portcullis-verdict header, the metric label, the
// log line, the audit event and the dynamic metadata.
type Cause string

// Causes of CLEAN.
const (
	CauseScanned Cause = "scanned" // every engine of the policy saw all bytes
	CauseEmpty   Cause = "empty"   // the body has no bytes; nothing to scan
)

// Cause of INFECTED.
const CauseMalware Cause = "malware"

// Causes of POLICY.
const (
	CauseForbiddenType    Cause = "forbidden-type"    // a type the policy or engine refuses
	CauseEncrypted        Cause = "encrypted"         // password-protected archive or document
	CauseMacro            Cause = "macro"             // office macros
	CauseBomb             Cause = "bomb"              // expands beyond the limits
	CauseAmbiguousArchive Cause = "ambiguous-archive" // readers disagree on what is inside
	CausePartialArchive   Cause = "partial-archive"   // a volume of a split archive
	CauseActiveContent    Cause = "active-content"    // scripts, OLE objects, auto-actions, unsafe markup
	CauseInvalidFile      Cause = "invalid-file"      // a file that is not what it claims to be
	CauseEnginePolicy     Cause = "engine-policy"     // the engine blocked it and named no malware
)

// Causes of UNSCANNABLE.
const (
	CauseTooLarge         Cause = "too-large"         // over max_body_bytes or an engine's limit
	CauseUnknownCoding    Cause = "unknown-coding"    // a Content-Encoding that is not decoded
	CauseMalformedCoding  Cause = "malformed-coding"  // broken, truncated or mislabelled coding
	CauseMalformedBody    Cause = "malformed-body"    // multipart, JSON, XML … that readers could cut differently
	CauseTooDeep          Cause = "too-deep"          // nested beyond the limit
	CauseTooManyObjects   Cause = "too-many-objects"  // more parts or members than the limit
	CauseExpansion        Cause = "expansion-limit"   // expanded bytes over the limit, no bomb proven
	CauseScanTimeout      Cause = "scan-timeout"      // this content took too long; the engine still answers others
	CauseEngineLimit      Cause = "engine-limit"      // the engine stopped at one of its own limits
	CausePartialContent   Cause = "partial-content"   // a range or a piece of an upload
	CauseUploadDeadline   Cause = "upload-deadline"   // the body was not complete in time, or came too slowly
	CauseEndlessStream    Cause = "endless-stream"    // a body that by its type never ends, such as server-sent events
	CauseUncoveredMode    Cause = "uncovered-mode"    // Envoy does not deliver the body that the policy covers
	CauseTunnel           Cause = "tunnel"            // Upgrade or CONNECT: no body that ends
	CauseAmbiguousHeaders Cause = "ambiguous-headers" // e.g. two Content-Type lines
	CauseRuleFailed       Cause = "rule-failed"       // a rule could not be evaluated for this exchange
)

// Causes of ERROR.
const (
	CauseEngineUnreachable Cause = "engine-unreachable" // cannot connect, or the connection broke
	CauseEngineTimeout     Cause = "engine-timeout"     // the engine answers nobody
	CauseEngineProtocol    Cause = "engine-protocol"    // a reply that proves nothing
	CauseEngineRefused     Cause = "engine-refused"     // key, quota or permission refused
	CauseOverload          Cause = "overload"           // out of memory or disk budget, slots or queue time
	CauseSpool             Cause = "spool"              // a body could not be kept or read back whole
	CauseUnknownPolicy     Cause = "unknown-policy"     // Envoy's route names a policy that does not exist
	CauseInternal          Cause = "internal"           // a defect of Portcullis; please report it
)

// Causes lists every cause, for closed metric label sets and for the docs.
func Causes() []Cause {
	return []Cause{
		CauseScanned, CauseEmpty,
		CauseMalware,
		CauseForbiddenType, CauseEncrypted, CauseMacro, CauseBomb, CauseAmbiguousArchive, CausePartialArchive,
		CauseActiveContent, CauseInvalidFile, CauseEnginePolicy,
		CauseTooLarge, CauseUnknownCoding, CauseMalformedCoding, CauseMalformedBody, CauseTooDeep, CauseTooManyObjects,
		CauseExpansion, CauseScanTimeout, CauseEngineLimit, CausePartialContent, CauseUploadDeadline, CauseEndlessStream, CauseUncoveredMode,
		CauseTunnel, CauseAmbiguousHeaders, CauseRuleFailed,
		CauseEngineUnreachable, CauseEngineTimeout, CauseEngineProtocol, CauseEngineRefused, CauseOverload, CauseSpool,
		CauseUnknownPolicy, CauseInternal,
	}
}
