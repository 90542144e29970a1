// Package remote scans objects with another Portcullis, through its ScanService.
//
// It knows that service and the vocabulary of package scan. It must not know
// where objects come from, other engines, or how many instances there are: one
// [Engine] is one address, used without any retry; package fleet makes more of
// it.
//
// What the far side would do with the object (its policy's action) is of no
// interest here: its verdict is judged by the near side's own policy, so a far
// policy that fails open turns no ERROR into CLEAN.
package remote
