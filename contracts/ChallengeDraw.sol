// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title What a seed draws from a batch, step by step as proof/draw.ts does it.
/// @notice A dispute needs it on chain: that a verdict speaks of the receipts and the crops that were drawn, and of no
/// others, can then be decided without trusting whoever says so. The algorithm is described in proof/draw.ts; the two are
/// held together by test/chain/challenge-draw.test.ts.
library ChallengeDraw {
    /// @dev In full-frame pixels.
    struct Rect {
        uint32 x;
        uint32 y;
        uint32 width;
        uint32 height;
    }

    /// @dev The words drawn so far; passed by reference, so that every draw takes the next one.
    struct Words {
        bytes32 seed;
        uint256 counter;
    }

    /// @dev A finish receipt is checked as a whole (protocol/receipt.ts, proof/receipts.ts).
    uint8 internal constant FINISH = 1;
    /// @dev Sides of a crop in pixels and its share of the tile's side: proof/draw.ts says why these.
    uint256 internal constant MIN_CROP_PX = 32;
    uint256 internal constant MAX_CROP_PX = 128;
    uint256 internal constant CROP_PARTS = 3;

    error NothingToDraw();
    error KindsMissing(uint256 rects, uint256 kinds);

    /// @param rects the rectangles of all receipts, in ascending order of their leaves
    /// @param kinds their kinds: 0 render, 1 finish, 2 frame
    /// @param challengeCount how many to draw; more than there are draws them all
    /// @return indexes which receipts, in the order they were drawn
    /// @return crops what of each is rendered again
    function draw(bytes32 seed, Rect[] memory rects, uint8[] memory kinds, uint256 challengeCount)
        internal
        pure
        returns (uint256[] memory indexes, Rect[] memory crops)
    {
        uint256 count = rects.length;
        // INVARIANT: something is drawn, so no batch can pass for lack of receipts.
        if (count == 0 || challengeCount == 0) revert NothingToDraw();
        // INVARIANT: every receipt has a kind.
        if (kinds.length != count) revert KindsMissing(count, kinds.length);
        Words memory words = Words(seed, 0);
        uint256 drawn = challengeCount < count ? challengeCount : count;
        uint256[] memory order = new uint256[](count);
        for (uint256 i = 0; i < count; i++) order[i] = i;
        indexes = new uint256[](drawn);
        for (uint256 i = 0; i < drawn; i++) {
            uint256 j = i + below(words, count - i);
            (order[i], order[j]) = (order[j], order[i]);
            indexes[i] = order[i];
        }
        crops = new Rect[](drawn);
        for (uint256 i = 0; i < drawn; i++) {
            Rect memory rect = rects[indexes[i]];
            crops[i] = kinds[indexes[i]] == FINISH ? rect : cropIn(words, rect);
        }
    }

    /// @dev Unbiased: words in the last, incomplete run of n are passed over.
    function below(Words memory words, uint256 n) internal pure returns (uint256) {
        // 2^256 mod n, which does not fit a word itself.
        uint256 remainder = (type(uint256).max % n + 1) % n;
        while (true) {
            uint256 word = uint256(keccak256(abi.encode(words.seed, words.counter)));
            words.counter++;
            if (word <= type(uint256).max - remainder) return word % n;
        }
        // Never reached; the compiler wants a value.
        return 0;
    }

    function cropIn(Words memory words, Rect memory rect) private pure returns (Rect memory crop) {
        uint256 third = (uint256(rect.width) + rect.height) / (2 * CROP_PARTS);
        uint256 side = third < MIN_CROP_PX ? MIN_CROP_PX : third > MAX_CROP_PX ? MAX_CROP_PX : third;
        crop.width = side < rect.width ? uint32(side) : rect.width;
        crop.height = side < rect.height ? uint32(side) : rect.height;
        crop.x = rect.x + uint32(below(words, uint256(rect.width) - crop.width + 1));
        crop.y = rect.y + uint32(below(words, uint256(rect.height) - crop.height + 1));
    }
}
