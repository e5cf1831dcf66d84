#include "ecgmoe_median.h"

void ecgmoe_sort(ecgmoe_real *numbers, int32_t n) {
    for (int32_t i = 1; i < n; i++) {
        ecgmoe_real number = numbers[i];
        int32_t k = i;
        for (; k > 0 && numbers[k - 1] > number; k--)
            numbers[k] = numbers[k - 1];
        numbers[k] = number;
    }
}

ecgmoe_real ecgmoe_median_sorted(const ecgmoe_real *sorted, int32_t n) {
    int32_t middle = n / 2;
    return n % 2 != 0 ? sorted[middle] : ECGMOE_R(0.5) * (sorted[middle - 1] + sorted[middle]);
}

ecgmoe_real ecgmoe_select(ecgmoe_real *numbers, int32_t n, int32_t place) {
    int32_t low = 0, high = n - 1;
    while (low < high) {
        const ecgmoe_real pivot = numbers[place];
        int32_t left = low, right = high;
        while (left <= right) {
            while (numbers[left] < pivot)
                left++;
            while (pivot < numbers[right])
                right--;
            if (left <= right) {
                const ecgmoe_real kept = numbers[left];
                numbers[left++] = numbers[right];
                numbers[right--] = kept;
            }
        }
        if (right < place)
            low = left;
        if (place < left)
            high = right;
    }
    return numbers[place];
}

ecgmoe_real ecgmoe_median_of(ecgmoe_real *numbers, int32_t n) {
    const ecgmoe_real upper = ecgmoe_select(numbers, n, n / 2);
    if (n % 2 != 0)
        return upper;
    ecgmoe_real lower = numbers[0];
    for (int32_t i = 1; i < n / 2; i++)
        lower = ecgmoe_max(lower, numbers[i]);
    return ECGMOE_R(0.5) * (lower + upper);
}

void ecgmoe_median_init(ecgmoe_median *m) {
    m->count = 0;
    m->next = 0;
}

void ecgmoe_median_add(ecgmoe_median *m, ecgmoe_real *sorted, uint8_t *order, int32_t keep, ecgmoe_real value) {
    int32_t k = m->count;
    if (k == keep) {
        uint8_t oldest = (uint8_t)(m->next - m->count);
        for (k = 0; order[k] != oldest; k++) {
        }
        /* Close the gap of the oldest on the side where the new number does not belong. */
        for (; k + 1 < m->count && sorted[k + 1] < value; k++) {
            sorted[k] = sorted[k + 1];
            order[k] = order[k + 1];
        }
    } else {
        m->count++;
    }
    for (; k > 0 && sorted[k - 1] > value; k--) {
        sorted[k] = sorted[k - 1];
        order[k] = order[k - 1];
    }
    sorted[k] = value;
    order[k] = m->next++;
}
