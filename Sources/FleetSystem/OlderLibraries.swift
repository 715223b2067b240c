/// The Swift runtime that is linked in has a function for `hypotf`, which nothing in the fleet calls. Bound to the C library of
/// the machine that builds, that one name alone would keep the programs from starting where glibc is 2.34, as on RHEL 9:
/// they would ask for the version of it that 2.35 brought. So the programs bring it along.
///
/// Two squares of 24 bits each fit a Double, so only the sum and the root are rounded.
@_cdecl("hypotf")
public func hypotenuse(_ x: Float, _ y: Float) -> Float {
    // hypot(3): "If x or y is an infinity, positive infinity is returned", also when the other is no number.
    if x.isInfinite || y.isInfinite { return .infinity }
    let (x, y) = (Double(x), Double(y))
    return Float((x * x + y * y).squareRoot())
}
