"""What an S3 store's refusals mean: which of them pass by themselves, and what mends the others."""

_KEYS = "Look at S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY."
_BUCKET = "Look at S3_BUCKET, S3_ENDPOINT_URL and S3_REGION; it is never created."
_FULL = "Make room there, or keep fewer backups (S3_RETENTION_DAYS)."
_LOCK = "Make the bucket with object lock, or unset S3_OBJECT_LOCK_MODE and S3_OBJECT_LOCK_DAYS."

# A refusal that stands: asking again gets the same answer.
_MENDS = {
    "AccessDenied": "Let that key list the bucket, and read, write and delete objects in it (README, S3).",
    "AccountProblem": "Ask the store's operator about the account.",
    "AllAccessDisabled": "Ask the store's operator about the account.",
    "AuthorizationHeaderMalformed": "Look at S3_REGION: the store says which one it expects.",
    "EntityTooLarge": "The store takes no object that large.",
    "ExpiredToken": "The session that the key belongs to has expired: renew it.",
    "IllegalLocationConstraintException": "Look at S3_REGION.",
    "InvalidAccessKeyId": _KEYS,
    "InvalidBucketName": _BUCKET,
    "InvalidBucketState": _LOCK,
    "InvalidObjectState": "It lies in an archive class: have the store bring it back first (restore-object).",
    "InvalidStorageClass": "Look at S3_STORAGE_CLASS.",
    "InvalidToken": _KEYS,
    "NoSuchBucket": _BUCKET,
    "PermanentRedirect": "Look at S3_REGION and S3_ENDPOINT_URL.",
    "QuotaExceeded": _FULL,
    "RequestTimeTooSkewed": "This clock and the store's differ too much: set both by NTP.",
    "SignatureDoesNotMatch": _KEYS,
    "TokenRefreshRequired": "The session that the key belongs to has expired: renew it.",
    "XMinioStorageFull": _FULL,
}
# Passing ones whose status doesn't say so: the bytes were spoilt on their way, or something else was quicker.
_PASSING = {
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "NoSuchUpload",
    "OperationAborted",
    "PreconditionFailed",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "XAmzContentSHA256Mismatch",
}
_PASSING_STATUS = {408, 409, 412, 425, 429}
_STORAGE_FULL = 507
_CHECKSUM = {"InvalidRequest", "MissingContentMD5"}
_LIMIT = 300

# What TLS says of a certificate, in the words of OpenSSL and urllib3. Each stands: the next try is shown the same one.
_NAME = "Name the store in S3_ENDPOINT_URL as its certificate does."
_BUNDLE = "Let AWS_CA_BUNDLE name a file of certificates, or unset it and set S3_CA_FILE."
_AUTHORITY = "Set S3_CA_FILE to a file with the certificate of the authority that signed the store's."
_TRUST = {
    "Hostname mismatch": _NAME,
    "IP address mismatch": _NAME,
    "doesn't match": _NAME,
    "certificate has expired": "Have the store's certificate renewed, or look at this machine's clock.",
    "not yet valid": "Look at this machine's clock.",
    "CERTIFICATE_VERIFY_FAILED": _AUTHORITY,
    "NO_CERTIFICATE_OR_CRL_FOUND": _BUNDLE,
    "No such file": _BUNDLE,
}

# What an answer without a body, as every one to HEAD, leaves to guess.
_BY_STATUS = {301: "PermanentRedirect", 401: "InvalidAccessKeyId", 403: "AccessDenied", _STORAGE_FULL: "QuotaExceeded"}


def passes(code: str, status: int) -> bool:
    """Whether the same request may be granted a moment later."""
    if code in _MENDS:
        return False
    return code in _PASSING or status in _PASSING_STATUS or (status >= 500 and status not in (501, _STORAGE_FULL))


def wants_checksum(code: str, message: str) -> bool:
    """Whether the store refuses for want of a Content-MD5, as Amazon's does where a bucket locks by itself.

    Its words: InvalidRequest, "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Part requests with Object
    Lock parameters".
    """
    return code in _CHECKSUM and "Content-MD5" in message


def mend(code: str, status: int) -> str:
    """What the user can do about it; nothing where nobody knows."""
    return _MENDS.get(code) or _MENDS.get(_BY_STATUS.get(status, ""), "")


def trust(said: str) -> str:
    """What the user can do where TLS failed for want of trust; nothing where it may pass, such as a line cut off."""
    return next((mend for words, mend in _TRUST.items() if words in said), "")


def one_line(text: str) -> str:
    """What a store or a library says, fit for one line of an error."""
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= _LIMIT else f"{line[:_LIMIT]}…"
